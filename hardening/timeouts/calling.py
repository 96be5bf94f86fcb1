"""Calling a task as one calls a function that may be slow: for its result, within a time."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery.exceptions import TaskRevokedError
from celery.exceptions import TimeoutError as ResultTimeout
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from hardening.core import telemetry
from hardening.core.errors import ConfigError, SpoolError
from hardening.core.membership import boot_clock_s
from hardening.delivery.outgoing import name_of, owner_of
from hardening.delivery.send import supervised_send
from hardening.timeouts.deadline import deadline, remaining
from hardening.timeouts.errors import CallTimeout
from hardening.timeouts.events import CallTimedOut
from hardening.timeouts.lookup import timeout_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celery import Celery

    from hardening.delivery.outgoing import AnyTask
    from hardening.delivery.receipt import Receipt

__all__ = ["call_with_timeout"]

_AWAY = (RedisError, OperationalError, OSError)
#: For the send itself, in seconds; it is part of the call's time, if that is less.
_SEND_S = 5.0
#: What the result of a task says that was buried for its deadline.
_EXPIRED = "expired"


def call_with_timeout(
    task: AnyTask,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    operation: str = "",
    timeout: float | None = None,
    app: Celery | None = None,
    **send_options: Any,
) -> Any:
    """Sends a task, supervised, and returns its result; gives up, and cancels it, when its time is over.

    The message carries the deadline: what is not begun by then is buried as ``expired`` and never runs, even where the
    cancellation is lost. What runs by then goes on, up to its own time limit; what it calls has no time left.

    May be called inside a task, where it takes no more than what is left of that task's deadline. There it blocks a
    place in the pool: with no other worker that takes the called task, all places may wait for each other, until their
    time is over.

    Args:
        task: a task, its name, or a signature.
        args: positional arguments.
        kwargs: keyword arguments.
        operation: under which name the time is looked up; default: the task's name.
        timeout: how long, in seconds, instead of what is looked up.
        app: for a name; default: the current app.
        **send_options: as for ``supervised_send``.

    Returns:
        What the task returned.

    Raises:
        CallTimeout: there was no result in time.
        ConfigError: the app has no result backend, or is not hardened.
        PublishFailed: the message was not sent.
        Exception: what the task raised.
        ValueError: an argument makes no sense.

    Events: ``hardening.call.timed_out``.
    """
    owner = owner_of(task, app)
    name = operation or name_of(task)
    if _has_no_results(owner):
        raise ConfigError(f"{name} cannot be called for its result: the app {owner.main!r} has no result_backend")
    seconds = timeout_for(name, app=owner) if timeout is None else timeout
    with deadline(seconds, app=owner):
        given_s = remaining() or 0.0
        until_s = boot_clock_s() + given_s
        if not given_s:
            raise CallTimeout("", name, 0.0)
        if owner.conf.task_always_eager and not isinstance(task, str):
            return task.apply(tuple(args), dict(kwargs or {})).get(disable_sync_subtasks=False)
        said = {"timeout": min(_SEND_S, given_s), "ignore_result": False, **send_options}
        receipt = supervised_send(task, args, kwargs, app=owner, **said)
        task_id = str(said.get("task_id") or receipt.id)
        try:
            return _result(owner, task_id, until_s - boot_clock_s())
        except (ResultTimeout, TaskRevokedError) as error:
            if isinstance(error, TaskRevokedError) and str(error) != _EXPIRED:
                raise
            raise _timed_out(receipt, task_id, name, given_s) from error


def _has_no_results(app: Celery) -> bool:
    return type(app.backend).__name__ == "DisabledBackend" and not app.conf.task_always_eager


def _result(receipt: Receipt, task_id: str, until_s: float) -> Any:
    """The result of a task.

    The receipt tells of the end to the millisecond, where Celery looks once a second; but a stock worker settles no
    receipt, so the result itself is looked for now and then.

    Raises:
        celery.exceptions.TimeoutError: it did not come.
    """
    result: Any = receipt.app.AsyncResult(task_id)
    try:
        while (left_s := until_s - boot_clock_s()) > 0:
            with suppress(ConfirmTimeout, ReceiptNotFound, SpoolError, *_AWAY):
                if _has_ended(receipt, min(left_s, _LOOK_S)) or result.ready():
                    return result.get(timeout=max(left_s, _LEAST_S), disable_sync_subtasks=False)
        raise ResultTimeout
    finally:
        result.backend.remove_pending_result(result)


def _has_ended(receipt: Receipt, timeout_s: float) -> bool:
    try:
        receipt.wait("acked", timeout_s)
    except MessageDied:
        return True
    return receipt.is_late_acked
