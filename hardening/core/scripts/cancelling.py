"""What cancelling asks of Redis, one typed function for each script. Times are in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardening.core.scripts.calls import Scope

__all__ = ["Asked", "Place", "cancel", "revoke"]

#: Messages of a queue that one call looks at: of some 600 bytes each, about 3 ms of Redis.
_PAGE = 1_000
#: Others may cancel as well, which moves what follows: so far a next page reaches back.
_OVERLAP = 100


class Place(NamedTuple):
    """From where on a queue is searched: in which of its lists, and at which message of it."""

    at: int = 0
    start: int = 0


class Asked(NamedTuple):
    """What a cancel said.

    Attributes:
        said: ``cancelled``, ``searching``, ``astray``, or the state of the receipt.
        where: where the message was when it was cancelled: ``schedule``, ``queue`` or ``consumer``.
        asker: whose request that was.
        raw: its bytes, if this call did it.
        go_on: from where on to search.
    """

    said: str
    where: str = ""
    asker: str = ""
    raw: bytes = b""
    go_on: Place = Place()

    @staticmethod
    def parse(reply: list[Any]) -> Asked:
        """Reads the reply of a cancel."""
        said, *more = reply
        if said == b"cancelled":
            where, asker, *raw = more
            return Asked("cancelled", where.decode(), asker.decode(), *raw)
        if said == b"searching":
            at, start = more
            return Asked("searching", go_on=Place(at, max(0, start - _OVERLAP)))
        return Asked(said.decode("utf-8", "replace"))


def cancel(
    scope: Scope,
    receipt: str,
    lists: Sequence[str],
    asker: str,
    *,
    patience_ms: int,
    place: Place = Place(),  # noqa: B008 - it cannot be changed
    limit: int = _PAGE,
) -> Call:
    """Cancels the message of a receipt. Reply: see :meth:`Asked.parse`.

    Args:
        scope: who asks.
        receipt: the id of the receipt.
        lists: where it is, if it is queued.
        asker: names the request; repeated under the same name it is the same.
        patience_ms: for how long a consumer that holds it may give it up; 0: not any more.
        place: from where on the queue is searched.
        limit: how many messages are looked at, more than a hundred.
    """
    keys = scope.keys
    return Call(
        _CANCEL,
        (keys.delivery(receipt), keys.scheduled, keys.scheduled_messages, keys.cancelling, *lists),
        (keys.prefix, scope.receipt_ttl_ms, scope.worker, asker, patience_ms, *place, limit),
    )


def revoke(scope: Scope, consumer: str, seq: int) -> Call:
    """Gives up what somebody wants cancelled. Reply: 1 cancelled, 0 given back, -1 not held."""
    keys = scope.keys
    return Call(
        _REVOKE, (keys.inflight(consumer), keys.cancelling), (keys.prefix, scope.receipt_ttl_ms, scope.worker, seq)
    )


_CANCEL = Script.load("cancel")
_REVOKE = Script.load("revoke")
