"""What a sender holds in hand: where its message is, and where it has been."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from celery import current_app, states

from dlq import Reason
from hardening.core.errors import ReceiptNotFound
from hardening.delivery.async_follower import AsyncFollower
from hardening.delivery.cancelling import Cancellation, CancelOutcome, cancel
from hardening.delivery.follower import Follower
from hardening.delivery.receipt_state import DeliveryStatus, Transition, about_of, history_of, status_of
from hardening.delivery.results import await_result, result_here
from hardening.delivery.waiting import Wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery
    from celery.result import EagerResult

__all__ = ["DeliveryStatus", "Receipt", "Transition", "ran_here"]


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
        outcome: what Celery made of a task that ran in this process.
    """

    id: str
    app: Celery
    here: Mapping[str, str] | None = field(default=None, compare=False, repr=False)
    replicas: int | None = field(default=None, compare=False, repr=False)
    outcome: EagerResult[Any] | None = field(default=None, compare=False, repr=False)

    @property
    def members(self) -> tuple[Receipt, ...]:
        """Of the messages it follows: itself; see :class:`~hardening.delivery.GroupReceipt` for more."""
        return (self,)

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

    @property
    def _follower(self) -> Follower:
        return Follower(self.app, self.id)

    def _fields(self) -> dict[str, str]:
        return self._follower.fields() if self.here is None else dict(self.here)

    def status(self) -> DeliveryStatus:
        """Where the message is now; ``unknown`` when the receipt has expired.

        ``spooled`` while it is in the spool of this host and Redis is away, or has not got it yet.
        """
        return status_of(self._fields())

    def details(self) -> dict[str, str]:
        """All that is known: task, task_id, queue, state, worker, reason, guarantee, created_ms.

        Of a task that ran here and raised also the error, for there is no dead letter to hold it.
        """
        return about_of(self._fields())

    def history(self) -> list[Transition]:
        """Its states, oldest first; the last hundred. What is only spooled has none.

        Of a task that ran here, the end, by the clock here.
        """
        if self.here is not None:
            at = datetime.fromtimestamp(int(self.here["created_ms"]) / 1000, UTC)
            return [Transition(self.status(), at, "")]
        return history_of(self._fields())

    def result(self, timeout: float = 30.0, *, disable_sync_subtasks: bool = True) -> Any:
        """Waits for what the task returns, as ``AsyncResult.get`` does, but never for ever, nor for what is dead.

        Args:
            timeout: the longest to wait, in seconds; one socket timeout of the result backend more when that hangs.
            disable_sync_subtasks: whether to refuse inside a task, as Celery does.

        Raises:
            Exception: what the task raised.
            MessageDied: the message is dead, and its task left no result.
            ResultTimeout: the result did not come in time.
            ResultUnavailable: the app has no result backend, or the task stores no result.
            ReceiptNotFound: there is nothing to follow.
            RuntimeError: inside a task, where waiting for another may wait for ever.
            ValueError: the timeout is no number of seconds.
        """
        if self.outcome is not None:
            return result_here(self.outcome, self.id)
        return await_result(self.app, self.id, timeout_s=timeout, disable_sync_subtasks=disable_sync_subtasks)

    def cancel(self, *, timeout: float = 30.0, terminate: bool = False) -> Cancellation:
        """Cancels the message, if nobody has begun to run it; tells what happened, which is final.

        What is scheduled, queued or spooled is removed at once. What a worker has taken and not begun is given up by
        that worker, within about a second; should it die meanwhile, the message comes back to its queue, and is
        cancelled after that. A task that runs is left alone, and its worker is sent Celery's own ``revoke``, so that
        it is not retried. A dead letter stays: it is for ``celery dlq`` to purge, or to retry.

        The receipt then says ``dead``, for reason ``cancelled``, as does whoever waits for it; the result backend says
        ``REVOKED``. Asking again gets the same answer. An idempotency key of the message goes on naming it: a send
        with that key returns this receipt, and publishes nothing, until its window is over.

        A message that came back because its worker died may have been run before, which its history tells.

        Args:
            timeout: the longest to wait for a worker that holds it, in seconds. More than a lease, or a worker that is
                being killed makes this fail.
            terminate: whether the task is to be killed, if it runs; see ``app.control.revoke``.

        Raises:
            ConfirmTimeout: the worker that holds it did not give it up in time. It is not cancelled.
            CancelFailed: Redis, or the spool, could not be asked, so nobody knows. Asking again does no harm.
            ReceiptNotFound: there is nothing to follow.
            ValueError: the timeout is no number of seconds.
        """
        if self.here is not None:
            return Cancellation(CancelOutcome.TOO_LATE, self.status())
        return cancel(self.app, self.id, timeout_s=timeout, terminate=terminate)

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
        wait = Wait(self.id, state, timeout)
        if self.here is not None:
            return wait.ended_here(self.here)
        follower = self._follower
        while True:
            left_s = wait.left_s
            fields, last = follower.watch(left_s)
            if (reached := wait.reached(fields)) is not None:
                return reached
            if left_s <= 0:
                wait.give_up(fields or self._fields())
            follower.await_change(last, wait.pause_s(fields, left_s))

    async def await_until(self, state: str = "acked", timeout: float = 30.0) -> DeliveryStatus:  # noqa: ASYNC109
        """Waits as :meth:`wait` does, without holding up the event loop: ``await receipt.await_until("acked")``.

        The loop's own connections are blocked on, at most 64 at once; those who wait beyond that ask again four times a
        second. A thread is used for the disk of a spool alone.

        Args, returns and raises as :meth:`wait`; but a Redis that hangs is not waited for any longer than ``timeout``.
        """
        wait = Wait(self.id, state, timeout)
        if self.here is not None:
            return wait.ended_here(self.here)
        follower = AsyncFollower(self.app, self.id)
        while True:
            left_s = wait.left_s
            fields, last = await follower.watch(left_s)
            if (reached := wait.reached(fields)) is not None:
                return reached
            if left_s <= 0:
                wait.give_up(fields or await follower.fields())
            await follower.await_change(last, wait.pause_s(fields, left_s))


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
    return replace(receipt, here=here, outcome=result)
