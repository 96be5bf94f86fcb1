"""What broadcasts ask of Redis, and what consumers tell it for their sake: one typed function for each script."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hardening.core.keys import Keys
    from hardening.core.scripts.calls import Scope

__all__ = ["Addressed", "Published", "Refusal", "broadcast", "consume"]


class Refusal(StrEnum):
    """Why a recipient gets nothing."""

    #: It asks for a live consumer, and nobody with a lease takes from its queue.
    NO_CONSUMER = "no_consumer"
    #: The key with its queue's name is no list.
    NOT_A_QUEUE = "not_a_queue"


class Addressed(NamedTuple):
    """One message of a broadcast.

    Attributes:
        list_key: the list it goes to.
        queue: whose list that is.
        raw: the raw message, which has a receipt.
        needs_consumer: whether somebody must be taking from the queue.
    """

    list_key: str
    queue: str
    raw: bytes
    needs_consumer: bool


class Published(NamedTuple):
    """What became of the messages of one call.

    Attributes:
        new: how many this very call published; a repeat publishes none.
        refused: why, by place in the call, from 0; what is not named here Redis has.
    """

    new: int
    refused: dict[int, Refusal]

    @staticmethod
    def parse(reply: list[Any]) -> Published:
        """Reads the reply of a broadcast."""
        new, *rest = reply
        refused = zip(rest[::2], rest[1::2], strict=True)
        return Published(new, {at - 1: Refusal(why.decode()) for at, why in refused})


def broadcast(
    scope: Scope, messages: Iterable[Addressed], *, due_ms: int, task: str, guarantee: str, all_or_none: bool
) -> Call:
    """Publishes one message to each of several queues. Reply: see :meth:`Published.parse`."""
    listed = list(messages)
    head = (scope.keys.prefix, scope.receipt_ttl_ms, scope.worker, due_ms, task, guarantee, int(all_or_none))
    parts = [part for one in listed for part in (one.queue, int(one.needs_consumer), one.raw)]
    lists = [one.list_key for one in listed]
    return Call(_BROADCAST, (scope.keys.leases, scope.keys.queues, *lists), (*head, *parts))


def consume(keys: Keys, consumer: str, queues: Sequence[str]) -> Call:
    """Says from which queues a consumer takes. Reply: 1, or -1 when it has no lease."""
    return Call(_CONSUME, (keys.leases, keys.consuming(consumer)), (consumer, *queues))


_BROADCAST = Script.load("broadcast")
_CONSUME = Script.load("consume")
