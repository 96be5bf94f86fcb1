"""Waiting for the result of a supervised task, which the app's result backend keeps.

Neither a subscription nor a poll of the backend: the receipt tells when the message has ended, and by then the result
is stored. Only where no receipt follows the task whose result it is, as with the last of a chain, the backend is asked
again and again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from celery import result as celery_result
from celery import states
from celery.backends.base import DisabledBackend
from redis.exceptions import RedisError

from dlq import Reason
from hardening.core.errors import MessageDied, ReceiptNotFound, ResultTimeout, ResultUnavailable
from hardening.core.membership import boot_clock_s
from hardening.delivery.attempts import TRANSIENT
from hardening.delivery.follower import Follower
from hardening.delivery.receipt_state import DeliveryStatus, status_of

if TYPE_CHECKING:
    from celery import Celery
    from celery.result import EagerResult

__all__ = ["await_result", "refuse_inside_a_task", "result_here"]

_CELERYS: Any = celery_result
#: How a message dies whose task has run, and so may have left a result.
_RAN = frozenset({Reason.FAILED.value, Reason.TIMEOUT.value, Reason.CRASHED.value})
#: How long after the end of a message its result may come, in seconds: some of a worker's threads are slower.
_GRACE_S = 1.0
#: How soon to ask the backend again, in seconds, where nothing tells when to: at first, and in the end.
_SOON_S, _LATER_S = 0.02, 0.5
_ENDED = (DeliveryStatus.ACKED, DeliveryStatus.DEAD)


def await_result(
    app: Celery, receipt: str, *, task_id: str = "", timeout_s: float, disable_sync_subtasks: bool = True
) -> Any:
    """Waits for a result; see :meth:`hardening.delivery.Receipt.result`.

    Args:
        app: whose result backend.
        receipt: whose message is followed.
        task_id: of the task whose result it is, if it is not that of the message.
        timeout_s: the longest to wait, in seconds.
        disable_sync_subtasks: whether to refuse inside a task, as Celery does.
    """
    if not 0 <= timeout_s < float("inf"):
        raise ValueError(f"timeout is {timeout_s!r}, expected a number of seconds")
    if disable_sync_subtasks:
        refuse_inside_a_task()
    if isinstance(app.backend, DisabledBackend):
        raise ResultUnavailable(receipt, "the app has no result backend, set result_backend")
    return _Wait(app, receipt, task_id, timeout_s).result()


def refuse_inside_a_task() -> None:
    """Refuses as Celery does: all places may be taken by tasks that wait for others.

    Raises:
        RuntimeError: inside a task, unless that was allowed.
    """
    _CELERYS.assert_will_not_block()


def result_here(outcome: EagerResult[Any], receipt: str) -> Any:
    """The result of a task that ran in this process.

    Raises:
        MessageDied: it was rejected.
        Exception: what the task raised.
    """
    state = str(outcome.state)
    if state in states.PROPAGATE_STATES and isinstance(outcome.result, BaseException):
        raise outcome.result
    if state == states.SUCCESS:
        return outcome.result
    if state == states.IGNORED:
        return None
    raise MessageDied(receipt, state.lower())


class _Wait:
    """One wait."""

    def __init__(self, app: Celery, receipt: str, task_id: str, timeout_s: float) -> None:
        self._app = app
        self._receipt = receipt
        self._task_id = task_id
        self._timeout_s = timeout_s
        self._until_s = boot_clock_s() + timeout_s
        self._follower = Follower(app, receipt)
        self._why = ""
        self._pause_s = _SOON_S

    def result(self) -> Any:
        """Waits for it."""
        ended_at_s = 0.0
        while True:
            left_s = self._until_s - boot_clock_s()
            fields, last = self._look(left_s)
            status = status_of(fields)
            self._task_id = self._task_id or fields.get("last", "")
            ignores = getattr(self._app.tasks.get(fields.get("task", "")), "ignore_result", False)
            if ignores and not self._task_id:
                raise ResultUnavailable(self._receipt, f"its task {fields['task']} ignores results")
            if status is DeliveryStatus.DEAD and fields.get("reason") not in _RAN:
                raise MessageDied(self._receipt, fields.get("reason", "unknown"))
            meta = self._ask(self._task_id or fields.get("task_id") or self._receipt)
            if meta and (meta["status"] == states.SUCCESS or self._task_id or status in (*_ENDED, "unknown")):
                return _concluded(meta)
            if status in _ENDED:
                ended_at_s = ended_at_s or boot_clock_s()
                self._give_up(status, fields, boot_clock_s() - ended_at_s)
            if left_s <= 0:
                self._too_late()
            self._await(status, last, left_s)

    def _look(self, left_s: float) -> tuple[dict[str, str], str]:
        """What the receipt says; nothing while Redis is away, for the backend may be elsewhere."""
        try:
            return self._follower.watch(left_s)
        except (RedisError, *TRANSIENT):
            return {}, ""

    def _ask(self, task_id: str) -> dict[str, Any] | None:
        """What the backend has, if it is the end."""
        try:
            meta: dict[str, Any] = self._app.backend.get_task_meta(task_id)
        except Exception as error:  # noqa: BLE001 - whatever the backend is, it may be back in time
            self._why = f"{type(error).__name__}: {error}"
            return None
        self._why = ""
        return meta if meta["status"] in states.READY_STATES else None

    def _give_up(self, status: DeliveryStatus, fields: dict[str, str], for_s: float) -> None:
        """The message has ended; is there still a result to come?"""
        if self._why or for_s < _GRACE_S:
            return
        if status is DeliveryStatus.DEAD:
            raise MessageDied(self._receipt, fields.get("reason", "unknown"))
        if not self._task_id and fields.get("guarantee") == "at_least_once":  # others are acknowledged before they run
            raise ResultUnavailable(self._receipt, "it was acknowledged and left none, or that has expired")

    def _too_late(self) -> None:
        try:
            status = status_of(self._follower.fields())
        except (RedisError, *TRANSIENT):
            status = DeliveryStatus.UNKNOWN
        else:
            if status is DeliveryStatus.UNKNOWN and not (self._why or self._task_id):
                raise ReceiptNotFound(self._receipt)
        raise ResultTimeout(self._receipt, status, self._timeout_s, self._why)

    def _await(self, status: DeliveryStatus, last: str, left_s: float) -> None:
        if status not in (*_ENDED, DeliveryStatus.UNKNOWN):
            self._follower.await_change(last, min(left_s, _GRACE_S))
            return
        threading.Event().wait(min(left_s, self._pause_s))
        self._pause_s = min(_LATER_S, 1.5 * self._pause_s)


def _concluded(meta: dict[str, Any]) -> Any:
    if meta["status"] != states.SUCCESS and isinstance(meta["result"], BaseException):
        raise meta["result"]
    return meta["result"]
