"""One task request in the worker's parent process: when it is begun, how it ends, and why it died."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.app.trace import ExceptionWithTraceback
from celery.exceptions import Ignore, Reject, Retry, Terminated
from celery.worker import request as celery_request
from celery.worker import state

from dlq import Reason
from hardening.core import telemetry
from hardening.core.agent_message import AGENT_TASK, MAILBOX_PROPERTY
from hardening.core.deployment import settings_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import Death
from hardening.timeouts.deadline import DUE_PROPERTY, deadline_in
from hardening.timeouts.events import DeadlineExpired
from hardening.timeouts.lookup import timeouts_of
from hardening.transport.qos import tell_burial
from hardening.worker.circuits import count_success, end_call, let_through
from hardening.worker.limits import effective, from_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from billiard.einfo import ExceptionInfo

    from hardening.transport.held import Held

__all__ = ["Request", "TakenAwayError", "begin_all"]

#: How much of a traceback is kept with a dead letter, in characters.
_TRACEBACK_MAX = 10_000
_NO_DEATH = (Retry, Ignore, Terminated, SystemExit, KeyboardInterrupt)


class TakenAwayError(Exception):
    """The message was taken away from this process before it was begun: it must not run here."""


class Request(celery_request.Request):
    """Celery's request, which begins by mark and ends by ack, release, crash or burial.

    Runs in the worker's parent process: in the loop's thread, and for the threads pool also in the thread
    that runs the task. Never in a pool's child process.
    """

    acknowledged: bool
    time_limits: tuple[Any, Any]
    circuit: str | None
    passage: Any = None  #: the breaker that let it through, and what that wants back

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        task = self._task
        self.circuit = task.circuit
        if self.circuit is not None:
            count_success(self)
        if (soft_s := timeouts_of(self._app).table.rules.limit_s(task.name)) is not None:
            self.time_limits = from_table(self.time_limits, task, soft_s, settings_of(self._app))
        self.time_limits = effective(self.time_limits, task)
        self._deadline_ms = deadline_in(self._request_dict) if getattr(message, "held", None) is not None else None
        if self._deadline_ms is not None:
            due_s = boot_clock_s() + (self._deadline_ms - self._now_ms()) / 1000
            self._tell_child(DUE_PROPERTY, due_s)
        if task.name == AGENT_TASK:
            self._tell_child(MAILBOX_PROPERTY, _place_of(getattr(message, "held", None)))

    def _tell_child(self, name: str, value: Any) -> None:
        """Has whatever runs the task know something that does not travel on from there."""
        self._request_dict["properties"] = {**(self._request_dict["properties"] or {}), name: value}

    def _now_ms(self) -> int:
        """The time at Redis, as this consumer knows it."""
        now_ms: int = self._message.channel.book.now_ms()
        return now_ms

    def bury_if_late(self) -> bool:
        """Buries what came after its deadline, before it is begun; returns whether it did."""
        if self._deadline_ms is None or (late_ms := self._now_ms() - self._deadline_ms) < 0:
            return False
        self._die(Death(Reason.EXPIRED, f"its deadline was {late_ms / 1000:g} s ago"))
        self._announce_revoked("expired", terminated=False, signum=None, expired=True)
        telemetry.emit(DeadlineExpired(message=self._message.held.message_id, task=self.name, late_ms=late_ms))
        return True

    def begin(self) -> bool:
        """Marks the message as begun before its task runs, unless it is. Returns whether it may run here."""
        held = getattr(self._message, "held", None)
        return held is None or held.begun or begin_all([self])[0]

    def revoked(self) -> bool:
        """Whether it must not run: revoked, or expired."""
        return bool(super().revoked()) or self.bury_if_late()

    def begun(self, may_run: bool) -> bool:
        """Does what follows from the mark; returns whether the task may run here.

        One that is acknowledged early is acknowledged now, so that it runs at most once.
        """
        message = self._message
        if not may_run:
            end_call(self, None, is_known=False)
            state.task_ready(self)
            message.channel.qos.forget(message.delivery_tag)
            if message.held.cancelled:
                self.acknowledged = True
                self._announce_revoked("cancelled", terminated=False, signum=None, expired=False)
        elif not self.task.acks_late and not self.acknowledged:
            message.ack_log_error(celery_request.logger, self._connection_errors)
            self.acknowledged = True
        return may_run

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """A cold shutdown: what the pool cannot end, finishes and is acknowledged."""
        with suppress(NotImplementedError):
            super().cancel(pool, signal, emit_retry)

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """The pool runs the task: for all but prefork this is in the very thread that will run it."""
        if not self.begin():
            raise TakenAwayError(self.id)
        super().on_accepted(pid, time_accepted)

    def on_failure(self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """The task raised, or its process died."""
        death = _death_of(exc_info)
        end_call(self, _unwrapped(exc_info), is_known=not state.should_terminate)
        self._die(death)
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)
        if death is not None:
            self._bury_if_acked_early()
        if death is not None and self._message.crashed and self._message.buried:
            self._fail_for_good(exc_info)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """A time limit is over; after the hard one the process is killed."""
        if not soft and not state.should_terminate:
            end_call(self, TimeLimitExceeded(timeout))
            self._die(Death(Reason.TIMEOUT, f"TimeLimitExceeded: hard time limit of {timeout:g} s"))
        super().on_timeout(soft, timeout)
        if not soft:
            self._bury_if_acked_early()

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        if expired:
            self._die(Death(Reason.EXPIRED, f"expired at {self.expires}"))
        super()._announce_revoked(reason, terminated, signum, expired)
        end_call(self, None, is_known=False)
        self._bury_if_acked_early()

    def acknowledge(self) -> None:
        """Settles the message in the book, in whichever thread finished the task.

        Celery would pass it through the loop; then a thread could begin its next task before the ack of
        the last one is on its way, and a kill would repeat two tasks of one thread. Here every begin
        carries the acks before it.
        """
        if not self.acknowledged:
            self._message.ack_log_error(celery_request.logger, self._connection_errors)
            self.acknowledged = True

    def reject(self, requeue: bool = False) -> None:
        """Gives the message back, charges it, or buries it."""
        if self._message.crashed and requeue and not self.acknowledged:
            self._message.reject_log_error(celery_request.logger, self._connection_errors, requeue=True)
            self.acknowledged = True
            return
        super().reject(requeue=requeue)

    def _die(self, death: Death | None) -> None:
        message = self._message
        if death is not None and getattr(message, "held", None) is not None and message.death is None:
            message.crashed = death.reason == Reason.CRASHED
            wanted = getattr(self.task, "dead_letter", True) is not False
            message.death = death._replace(is_kept=wanted or message.crashed)  # poison is evidence

    def _bury_if_acked_early(self) -> None:
        message = self._message
        if not self.task.acks_late and message.death is not None and not message.buried and message.held:
            message.buried = True
            message.channel.book.bury(message.held, message.death)
            tell_burial(message, message.death)

    def _fail_for_good(self, exc_info: ExceptionInfo) -> None:
        """Celery believes that the message was requeued; it was buried, and callers wait for a result."""
        error = _unwrapped(exc_info)
        self.task.backend.mark_as_failure(self.id, error, request=self._context, store_result=self.store_errors)
        self.send_event("task-failed", exception=repr(error), traceback=str(exc_info.traceback))


def begin_all(requests: Sequence[Any]) -> list[bool]:
    """Marks the messages of several requests as begun; those of one consumer in one write.

    Those that a breaker refuses are given back first.

    Returns:
        For each whether it may run here.
    """
    for request in requests:
        if getattr(request, "circuit", None) is not None:
            return _begin_let_through(requests)
    return _begin(requests)


def _begin_let_through(requests: Sequence[Any]) -> list[bool]:
    is_let = let_through(requests)
    may_run = iter(_begin([one for one, may in zip(requests, is_let, strict=True) if may]))
    return [next(may_run) if may else one.begun(may_run=False) for one, may in zip(requests, is_let, strict=True)]


def _begin(requests: Sequence[Any]) -> list[bool]:
    held = [getattr(request._message, "held", None) for request in requests]
    by_book: dict[Any, list[Any]] = {}  # after a failover there may be requests of two brokers
    for request, one in zip(requests, held, strict=True):
        if one is not None and not request.bury_if_late():
            by_book.setdefault(request._message.channel.book, []).append(one)
    may_run = {one: may for book, ours in by_book.items() for one, may in zip(ours, book.begin(ours), strict=True)}
    return [
        one is None or (one in may_run and request.begun(may_run[one]))
        for request, one in zip(requests, held, strict=True)
    ]


def _place_of(held: Held | None) -> dict[str, Any] | None:
    """From which mailbox a message was taken, and as what; None: it is held by nobody."""
    if held is None:
        return None
    return {
        "consumer": held.consumer, "queue": held.queue, "seq": held.seq, "message": held.message_id,
        "version": held.version,
    }  # fmt: skip


def _death_of(exc_info: ExceptionInfo) -> Death | None:
    """Why a message dies of an exception, or None when it does not."""
    error = _unwrapped(exc_info)
    if isinstance(error, _NO_DEATH) or (isinstance(error, Reject) and getattr(error, "requeue", False)):
        return None
    traceback = str(exc_info.traceback or "")[-_TRACEBACK_MAX:]
    if isinstance(error, WorkerLostError):
        return None if state.should_terminate else Death(Reason.CRASHED, _line(error), traceback)
    if isinstance(error, TimeLimitExceeded):
        return Death(Reason.TIMEOUT, _line(error), traceback)
    return Death(Reason.REJECTED if isinstance(error, Reject) else Reason.FAILED, _line(error), traceback)


def _unwrapped(exc_info: ExceptionInfo) -> BaseException:
    error: Any = exc_info.exception
    return error.exc if isinstance(error, ExceptionWithTraceback) else error


def _line(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:1000]
