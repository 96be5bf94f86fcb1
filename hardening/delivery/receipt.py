"""What a sender holds in hand: where its message is, and where it has been."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from celery import current_app, states

from dlq import Reason
from hardening.core.deployment import client_of, settings_of
from hardening.core.errors import ConfirmTimeout, MessageDied, ReceiptNotFound, SpoolError
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.calls import watch
from hardening.delivery.fallback import fallback_of
from hardening.delivery.producer import TRANSIENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery
    from celery.result import EagerResult

__all__ = ["DeliveryStatus", "Receipt", "Transition", "ran_here"]


#: What a receipt keeps for itself.
_BOOKKEEPING = ("changes", "watched", "kept_until_ms", "monitored")
#: How soon a waiter looks again for what is not in Redis yet, but may be in a spool, in seconds.
_SPOOLED_S = 0.25
#: How soon a waiter asks again when Redis is away, in seconds.
_PAUSE_S = 0.1


class DeliveryStatus(StrEnum):
    """Where a message is."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    CLAIMED = "claimed"
    STARTED = "started"
    ACKED = "acked"
    DEAD = "dead"
    SPOOLED = "spooled"
    UNKNOWN = "unknown"


_STATES = {status.value: status for status in DeliveryStatus}
#: How far along a message is; what is not here is on no way to anywhere.
_RANK = {
    DeliveryStatus.SCHEDULED: 0,
    DeliveryStatus.QUEUED: 1,
    DeliveryStatus.CLAIMED: 2,
    DeliveryStatus.STARTED: 3,
    DeliveryStatus.ACKED: 4,
}


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state.

    Attributes:
        state: which it became.
        at: when, by the clock of Redis.
        worker: who did it; empty: the sender.
    """

    state: DeliveryStatus
    at: datetime
    worker: str


@dataclass(frozen=True)
class Receipt:
    """Follows one supervised message, from any process.

    Attributes:
        id: of the receipt; also the task's id, unless the sender chose another.
        app: the app over whose broker the message travels.
        here: all that is known of a task that ran in this process (``task_always_eager``): it was never a message,
            Redis knows nothing of it, and nobody else can follow it. None: Redis knows.
        replicas: how many replicas had the message when the send returned; None: that was not asked
            (``confirm="replicated"``), or the message is spooled.
    """

    id: str
    app: Celery
    here: Mapping[str, str] | None = field(default=None, compare=False, repr=False)
    replicas: int | None = field(default=None, compare=False, repr=False)

    @classmethod
    def load(cls, receipt_id: str, *, app: Celery | None = None) -> Self:
        """A receipt by its id.

        Raises:
            ReceiptNotFound: it was never written, or has expired.
            SpoolError: this host has a spool that cannot be read.
        """
        receipt = cls(receipt_id, app or current_app)
        if not receipt._fields():
            raise ReceiptNotFound(receipt_id)
        return receipt

    def _fields(self) -> dict[str, str]:
        """What Redis says; if that is nothing, what the spool of this host does.

        The spool is looked at first: what leaves it between both looks is in Redis by then.
        """
        if self.here is not None:
            return dict(self.here)
        unreadable: SpoolError | None = None
        spooled: dict[str, str] = {}
        try:
            spooled = self._spooled_fields()
        except SpoolError as error:
            unreadable = error
        key = settings_of(self.app).keys.delivery(self.id)
        try:
            stored: dict[Any, Any] = client_of(self.app).hgetall(key)
        except TRANSIENT:
            if not spooled:
                raise
            stored = {}
        if not stored and unreadable is not None:
            raise unreadable
        return {name.decode(): value.decode("utf-8", "replace") for name, value in stored.items()} or spooled

    def _spooled_fields(self) -> dict[str, str]:
        found = fallback_of(self.app).spool.find(self.id)
        return {**found.publication.fields, "state": DeliveryStatus.SPOOLED.value} if found else {}

    def status(self) -> DeliveryStatus:
        """Where the message is now; ``unknown`` when the receipt has expired.

        ``spooled`` while it is in the spool of this host and Redis is away, or has not got it yet.
        """
        return _status(self._fields().get("state", ""))

    def details(self) -> dict[str, str]:
        """All that is known: task, task_id, queue, state, worker, reason, guarantee, created_ms.

        Of a task that ran here and raised also the error, for there is no dead letter to hold it.
        """
        fields = self._fields().items()
        return {name: value for name, value in fields if not _is_change(name) and name not in _BOOKKEEPING}

    def history(self) -> list[Transition]:
        """Its states, oldest first; the last hundred. What is only spooled has none.

        Of a task that ran here, the end, by the clock here.
        """
        if self.here is not None:
            at = datetime.fromtimestamp(int(self.here["created_ms"]) / 1000, UTC)
            return [Transition(self.status(), at, "")]
        return _history(self._fields())

    def wait(self, state: str = "acked", timeout: float = 30.0) -> DeliveryStatus:
        """Waits until the message has got as far as ``state``. Neither polls nor misses it.

        Args:
            state: ``queued``, ``claimed``, ``started`` or ``acked``.
            timeout: the longest to wait, in seconds; one socket timeout more when Redis hangs.

        Returns:
            The state it has come to, which may be further along.

        Raises:
            ConfirmTimeout: it did not come in time. The message is safe all the same.
            MessageDied: it is in the dead-letter queue, or was purged.
            ReceiptNotFound: there is nothing to follow.
            redis.RedisError: Redis was away all the time, or to the end.
            ValueError: there is no such state to wait for.
        """
        awaited = _RANK.get(_status(state))
        if not awaited:
            raise ValueError(f"cannot wait for {state!r}, expected queued, claimed, started or acked")
        if self.here is not None and self.status() is DeliveryStatus.ACKED:
            return DeliveryStatus.ACKED
        if self.here is not None:
            raise MessageDied(self.id, self.here["reason"])
        until_s = boot_clock_s() + timeout
        while True:
            left_s = until_s - boot_clock_s()
            fields, last = self._watch(left_s)
            status = _status(fields.get("state", ""))
            if any(_RANK.get(seen.state, 0) >= awaited for seen in _history(fields)):
                return status
            if status is DeliveryStatus.DEAD:
                raise MessageDied(self.id, fields.get("reason", "unknown"))
            if left_s <= 0:
                status = status if fields else self.status()
                if status is DeliveryStatus.UNKNOWN:
                    raise ReceiptNotFound(self.id)
                raise ConfirmTimeout(self.id, state, status, timeout)
            self._await_change(last, left_s if fields else min(left_s, _SPOOLED_S))

    def _watch(self, left_s: float) -> tuple[dict[str, str], str]:
        """What the receipt says, and the id of the last change that was told of; from now on all are."""
        settings = settings_of(self.app)
        try:  # whoever waits looks again within half a socket timeout
            call = watch(settings.keys, self.id, round(settings.socket_timeout_s * 1000))
            reply: list[bytes] = call.run(client_of(self.app)) or [b"0"]
        except TRANSIENT:
            if left_s <= _PAUSE_S:
                raise
            threading.Event().wait(_PAUSE_S)
            return {}, ""
        texts = [part.decode("utf-8", "replace") for part in reply]
        return dict(zip(texts[1::2], texts[2::2], strict=True)), texts[0]

    def _await_change(self, last: str, left_s: float) -> None:
        """Blocks on the server until there is a change after ``last``, for less than the socket's timeout."""
        if not last:
            return
        settings = settings_of(self.app)
        block_ms = max(1, int(min(left_s, settings.socket_timeout_s / 2) * 1000))
        with suppress(*TRANSIENT):  # the next look will tell
            client_of(self.app).xread({settings.keys.changes(self.id): last}, block=block_ms)


def ran_here(receipt: Receipt, result: EagerResult[Any], fields: Mapping[str, str]) -> Receipt:
    """The receipt of a task that ran in this process, at once, and so has ended.

    Args:
        receipt: of the send.
        result: what Celery made of it.
        fields: what the receipt says besides its state.
    """
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    here = {**fields, "state": DeliveryStatus.ACKED.value, "created_ms": str(now_ms)}
    outcome = str(result.state)
    if outcome not in (states.SUCCESS, states.IGNORED):
        reason = Reason.REJECTED if outcome == states.REJECTED else Reason.FAILED
        error = f"{type(result.result).__name__}: {result.result}"
        here |= {"state": DeliveryStatus.DEAD.value, "reason": reason.value, "error": error}
    return replace(receipt, here=here)


def _status(state: str) -> DeliveryStatus:
    return _STATES.get(state, DeliveryStatus.UNKNOWN)


def _is_change(name: str) -> bool:
    return name.startswith("#") and name[1:].isdigit()


def _history(fields: dict[str, str]) -> list[Transition]:
    numbers = sorted(int(name[1:]) for name in fields if _is_change(name))
    return [_transition(fields[f"#{number}"]) for number in numbers]


def _transition(change: str) -> Transition:
    ms, state, worker = change.split(" ", 2)
    return Transition(_status(state), datetime.fromtimestamp(int(ms) / 1000, UTC), worker)
