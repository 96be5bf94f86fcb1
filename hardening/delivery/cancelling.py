"""Cancelling one supervised message: exactly one of "it is cancelled" and "it may run" is told.

What nobody has taken, a script removes. What a consumer holds and has not begun, only that consumer can give up
(:mod:`hardening.transport.revoking`): the request for it stands in Redis for as long as somebody waits for the answer,
and is withdrawn before "not cancelled" is told.

Events: ``hardening.message.cancelled``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from celery.app.task import Context
from celery.backends.base import DisabledBackend
from redis.exceptions import RedisError

from hardening.core import payload as payloads
from hardening.core import raw as raw_message
from hardening.core import telemetry
from hardening.core.deployment import client_of, scope_of
from hardening.core.errors import CancelFailed, ConfirmTimeout, ReceiptNotFound, SpoolError
from hardening.core.keys import PRIORITY_STEPS, list_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import cancelling as scripts
from hardening.core.scripts.cancelling import Asked, Place
from hardening.delivery.attempts import TRANSIENT
from hardening.delivery.cancel_events import MessageCancelled
from hardening.delivery.fallback import fallback_of
from hardening.delivery.follower import Follower
from hardening.delivery.receipt_state import DeliveryStatus, status_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

__all__ = ["CancelOutcome", "Cancellation", "cancel"]

#: How often a queue is searched to its end for what ought to be in it.
_ROUNDS = 3
#: How long to wait for whoever flushes the spool, in seconds.
_FLUSH_S = 5.0
#: How soon to look again, in seconds, where no change was told of.
_AGAIN_S = 1.0


class CancelOutcome(StrEnum):
    """What became of a cancellation."""

    REMOVED = "removed"  #: out of the schedule, its queue or the spool, where nobody had taken it
    REVOKED = "revoked"  #: given up by the worker that had taken it, before it was begun
    TOO_LATE = "too_late"  #: not cancelled: it runs, has ended, or is not where it could be found


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What a cancellation came to. True if the message is cancelled, and will never run.

    Attributes:
        outcome: which.
        state: of the message: ``dead`` when it is cancelled. With ``too_late`` the state that was in the way;
            ``unknown``: its receipt says that it waits, but it is not there, as when a stock worker has taken it.
        place: where it was: ``schedule``, ``queue``, ``consumer`` or ``spool``; empty: it was too late.
        is_repeat: somebody had cancelled it before.
    """

    outcome: CancelOutcome
    state: DeliveryStatus
    place: str = ""
    is_repeat: bool = False

    def __bool__(self) -> bool:
        return self.outcome is not CancelOutcome.TOO_LATE


def cancel(app: Celery, receipt: str, *, timeout_s: float, terminate: bool) -> Cancellation:
    """Cancels the message of a receipt; see :meth:`hardening.delivery.Receipt.cancel`."""
    if not 0 < timeout_s < float("inf"):
        raise ValueError(f"timeout is {timeout_s!r}, expected a positive number of seconds")
    request = _Request(app, receipt, boot_clock_s() + timeout_s, timeout_s)
    try:
        found = request.cancel_spooled() if fallback_of(app).spool.find(receipt) else request.cancel()
        if found.state is DeliveryStatus.STARTED:  # so that it is not retried, and ends if it was asked to
            app.control.revoke(request.fields.get("task_id", receipt), terminate=terminate)
    except (RedisError, SpoolError, *TRANSIENT) as error:
        raise CancelFailed(receipt, error) from error
    return found


class _Request:
    """One call, whose requests all bear the same name.

    Attributes:
        fields: what the receipt says.
    """

    def __init__(self, app: Celery, receipt: str, until_s: float, timeout_s: float) -> None:
        self._app = app
        self._receipt = receipt
        self._until_s = until_s
        self._timeout_s = timeout_s
        self._name = raw_message.new_id()
        self._scope = scope_of(app)
        self._follower = Follower(app, receipt)
        self.fields: Mapping[str, str] = {}

    @property
    def _left_s(self) -> float:
        return max(0.0, self._until_s - boot_clock_s())

    def cancel(self) -> Cancellation:
        """Cancels what Redis has."""
        while True:
            left_s = self._left_s
            self.fields, last = self._follower.watch(left_s)
            if not last:  # Redis was away for a moment
                continue
            if not self.fields:
                raise ReceiptNotFound(self._receipt)
            asked = self._ask(left_s)
            if asked.said != DeliveryStatus.CLAIMED:
                return self._concluded(asked)
            if not left_s:
                raise ConfirmTimeout(self._receipt, "cancelled", asked.said, self._timeout_s)
            self._follower.await_change(last, min(left_s, _AGAIN_S))

    def _ask(self, left_s: float) -> Asked:
        """Asks until it is clear where the message is; without time left a request is withdrawn."""
        rounds, place, queue = 0, Place(), self.fields.get("queue", "")
        lists = [list_of(queue, step) for step in PRIORITY_STEPS]
        while True:
            call = scripts.cancel(
                self._scope, self._receipt, lists, self._name, patience_ms=int(left_s * 1000), place=place
            )
            asked = Asked.parse(call.run(client_of(self._app)))
            if asked.said == "searching":
                place = asked.go_on
            elif asked.said == "astray" and place != Place() and rounds < _ROUNDS:
                rounds, place = rounds + 1, Place()  # what it searched in turns was not all there at one instant
            else:
                return asked

    def _concluded(self, asked: Asked) -> Cancellation:
        if asked.said != "cancelled":
            return Cancellation(CancelOutcome.TOO_LATE, status_of({"state": asked.said}))
        is_repeat, is_result_told = asked.asker != self._name, self._tell_backend(asked.raw)
        if not is_repeat:
            self._tell(asked.where, is_result_told)
        outcome = CancelOutcome.REVOKED if asked.where == "consumer" else CancelOutcome.REMOVED
        return Cancellation(outcome, DeliveryStatus.DEAD, asked.where, is_repeat)

    def _tell_backend(self, raw: bytes) -> bool:
        """Tells the result backend, so that nobody waits for the result. Returns whether there is one that took it."""
        if isinstance(self._app.backend, DisabledBackend):
            return False
        try:
            headers = payloads.load(raw)["headers"] if raw else {"id": self.fields.get("task_id", self._receipt)}
            context = Context(headers)
            self._app.backend.mark_as_revoked(
                str(headers["id"]), "cancelled", request=context, store_result=not headers.get("ignore_result")
            )
        except Exception:  # noqa: BLE001 - whatever the backend is, and says, the message is cancelled
            return False
        return True

    def _tell(self, place: str, is_result_told: bool) -> None:  # noqa: FBT001 - two facts of one event
        telemetry.emit(
            MessageCancelled(
                receipt=self._receipt, task=self.fields.get("task", ""), queue=self.fields.get("queue", ""),
                place=place, is_result_told=is_result_told,
            )
        )  # fmt: skip

    def cancel_spooled(self) -> Cancellation:
        """Cancels what is in the spool of this host, and may be in Redis as well.

        While the lock is held nobody publishes it. Whether an earlier attempt did, of which nobody heard, only Redis
        can tell: if it is away, what may have been published stays.
        """
        spool = fallback_of(self._app).spool
        with spool.flushing(min(self._left_s, _FLUSH_S)) as is_alone:
            found = spool.find(self._receipt)
            if not is_alone:
                raise SpoolError(str(spool.path), "is being flushed, and not at rest in time")
            if found is not None:
                self.fields = found.publication.fields
                is_published = self._is_in_redis(is_certain=not (found.is_uncertain or found.attempts))
                spool.purge([self._receipt])
                if not is_published:
                    self._tell("spool", self._tell_backend(found.publication.raw))
                    return Cancellation(CancelOutcome.REMOVED, DeliveryStatus.DEAD, "spool")
        return self.cancel()

    def _is_in_redis(self, *, is_certain: bool) -> bool:
        """Whether Redis has the message after all.

        Raises:
            redis.RedisError: it is away, and it is not certain that no attempt succeeded.
        """
        try:
            return bool(client_of(self._app).exists(self._scope.keys.delivery(self._receipt)))
        except TRANSIENT:
            if not is_certain:
                raise
            return False
