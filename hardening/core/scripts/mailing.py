"""What mailboxes ask of Redis, one typed function for each script. Times are in milliseconds."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from hardening.core.agent_keys import MAILBOX_HEAD, mailbox_queue
from hardening.core.scripts.calls import Buried
from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hardening.core.keys import Keys
    from hardening.core.scripts.calls import Once, Scope

__all__ = ["Bound", "Halt", "Told", "WhenFull", "found", "halt", "tell"]

#: What a mailbox answers that refuses.
_FULL, _FULL_FOR_NOW = -1, -2


class WhenFull(StrEnum):
    """What happens to a message for which a mailbox has no room, as stored."""

    #: It is refused.
    REJECT = "reject"
    #: It takes the place of the oldest that waits, which is buried.
    DROP_OLDEST = "drop_oldest"
    #: It is buried itself.
    DROP_NEWEST = "drop_newest"
    #: It is refused for now: its sender waits until it is told that there is room, for as long as it likes.
    BLOCK = "block"


class Halt(StrEnum):
    """Why nothing is taken from a mailbox, as stored."""

    #: An operator asked for it.
    PAUSED = "paused"
    #: Its agent has failed too often.
    PARKED = "parked"
    #: Its agent has come to its end.
    STOPPED = "stopped"


class Bound(NamedTuple):
    """How much a mailbox holds.

    Attributes:
        most: how many messages may wait in it; 0: as many as there are.
        when_full: what happens to one more.
    """

    most: int
    when_full: WhenFull = WhenFull.REJECT


class Told(NamedTuple):
    """What became of a message for a mailbox.

    Attributes:
        is_full: it was refused.
        may_wait: and it is told when there is room.
        first: the receipt that has its idempotency key already; empty: there is none.
        waiting: how many messages wait.
        is_news: they now are more than half of what it holds, and were not before.
        bound: how much it holds; 0: as many as there are.
        halt: why nothing is taken from it; empty: nothing is in the way.
        buried: what had no room.
    """

    is_full: bool
    may_wait: bool
    first: str
    waiting: int
    is_news: bool
    bound: int
    halt: str
    buried: list[Buried]

    @staticmethod
    def parse(reply: list[Any]) -> Told:
        """Reads the reply of a tell."""
        accepted, waiting, is_news, bound, halted, *dropped = reply
        first = accepted.decode() if isinstance(accepted, bytes) else ""
        buried = [Buried(entry.decode(), list_key.decode("utf-8", "replace"), raw) for entry, list_key, raw in dropped]
        refused, halted = accepted in (_FULL, _FULL_FOR_NOW), halted.decode("utf-8", "replace")
        return Told(refused, accepted == _FULL_FOR_NOW, first, waiting, bool(is_news), bound, halted, buried)


def found(keys: Keys, agent: str, bound: int, when_full: str = WhenFull.REJECT) -> Call:
    """Makes the queue of an agent a mailbox, with a bound. Reply: 1, or 0 when it was so."""
    return Call(_FOUND, (keys.mailbox(mailbox_queue(agent)), keys.agents), (agent, bound, when_full))


def tell(
    scope: Scope,
    list_key: str,
    queue: str,
    raw: bytes,
    bound: Bound,
    *,
    due_ms: int = 0,
    receipt: Mapping[str, str] | None = None,
    once: Once | None = None,
) -> Call:
    """Publishes to a mailbox, if there is room; ``bound`` is for one that is not there. Reply: :meth:`Told.parse`."""
    published = scope.publish(list_key, queue, raw, due_ms=due_ms, receipt=receipt, once=once)
    listed, queues, *idempotency = published.keys
    agent = queue.removeprefix(MAILBOX_HEAD)
    return Call(
        _TELL,
        (listed, queues, scope.keys.mailbox(queue), scope.keys.agents, *idempotency),
        (*published.args[:7], agent, bound.most, bound.when_full, *published.args[7:]),
    )


def halt(keys: Keys, agent: str, why: Halt | None) -> Call:
    """Halts a mailbox, or with None lets it go on. Reply: 1, 0 when it was so, -1 when there is none."""
    queue = mailbox_queue(agent)
    return Call(_HALT, (keys.mailbox(queue), keys.bell(queue)), (why or "",))


_FOUND = Script.load("found_mailbox")
_HALT = Script.load("halt_mailbox")
_TELL = Script.load("tell_mailbox")
