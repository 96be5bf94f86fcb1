"""Calling a task as one calls a function that may be slow: for its result, within a time."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery.backends.base import DisabledBackend
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from dlq import Reason
from hardening.core import telemetry
from hardening.core.errors import ConfigError, DeliveryError, MessageDied, ResultTimeout, SpoolError
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
#: How long to wait for a worker to give up what it has taken and not begun, in seconds.
_CANCEL_S = 1.0


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
        CallTimeout: there was no result in time. To cancel what a worker holds takes up to a second more.
        MessageDied: the message is dead, and its task left no result.
        ResultUnavailable: the task stores no result.
        ConfigError: the app has no result backend, or is not hardened.
        PublishFailed: the message was not sent.
        Exception: what the task raised.
        ValueError: an argument makes no sense.

    Events: ``hardening.call.timed_out``.
    """
    owner = owner_of(task, app)
    name = operation or name_of(task)
    if isinstance(owner.backend, DisabledBackend) and not owner.conf.task_always_eager:
        raise ConfigError(f"{name} cannot be called for its result: the app {owner.main!r} has no result_backend")
    seconds = timeout_for(name, app=owner) if timeout is None else timeout
    with deadline(seconds, app=owner):
        given_s = remaining() or 0.0
        until_s = boot_clock_s() + given_s
        if not given_s:
            raise CallTimeout("", name, 0.0)
        receipt = supervised_send(task, args, kwargs, app=owner, **{"timeout": min(_SEND_S, given_s), **send_options})
        try:
            return receipt.result(max(0.0, until_s - boot_clock_s()), disable_sync_subtasks=False)
        except (ResultTimeout, MessageDied) as error:
            if isinstance(error, MessageDied) and error.reason != Reason.EXPIRED:
                raise
            raise _timed_out(receipt, name, given_s) from error


def _timed_out(receipt: Receipt, operation: str, timeout_s: float) -> CallTimeout:
    """Cancels a call; what is told is what was known before."""
    state, history, is_cancelled = "unknown", [], False
    with suppress(*_AWAY, SpoolError):
        state, history = receipt.status().value, receipt.history()
    with suppress(DeliveryError, *_AWAY):
        is_cancelled = bool(receipt.cancel(timeout=_CANCEL_S))
    telemetry.emit(CallTimedOut(operation=operation, receipt=receipt.id, timeout_s=timeout_s, state=state))
    return CallTimeout(receipt.id, operation, timeout_s, state=state, history=history, is_cancelled=is_cancelled)
