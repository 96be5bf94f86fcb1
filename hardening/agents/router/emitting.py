"""Emitting a signal: one script call publishes to everybody who has subscribed."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from redis.exceptions import RedisError

from hardening.agents.router.emission import Emission, Emitting
from hardening.agents.router.errors import EmitFailed
from hardening.agents.router.events import SignalSpooled
from hardening.core import telemetry, travel
from hardening.core.errors import BreakerOpen, PublishFailed
from hardening.delivery.async_client import forget_pool, pool_of, run_async
from hardening.delivery.attempts import TRANSIENT, Attempts
from hardening.delivery.fallback import fallback_of
from hardening.delivery.outgoing import owner_of
from hardening.delivery.send import supervised_send
from hardening.delivery.terms import OnError

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from hardening.core.scripts.signalling import Number

__all__ = ["EMIT_TASK", "aemit", "emit"]

logger = logging.getLogger("hardening.agents")

#: The task that emits what could not be emitted at once: with a signal, its payload, and its emitter and number.
EMIT_TASK = "hardening.emit"


def emit(
    signal: str,
    payload: Any = None,
    *,
    timeout: float = 5.0,
    retries: int = 3,
    on_error: OnError = "dead_letter",
    app: Celery | None = None,
) -> Emission:
    """Tells all subscribers of a signal. Any thread may call it, also in a task or an agent.

    Matching is done here, against a copy of the subscriptions; one script call publishes a message for each subscriber
    if that copy is up to date, otherwise it is brought up to date first. No handler is waited for, nor room in a
    mailbox: what a full one cannot take is dropped, as a dead letter ``mailbox_full``. Messages have no receipts.

    Guarantees: whoever had subscribed when this was called gets the signal once, and whoever had ended the subscription
    does not; a repeated attempt makes no second message. All copies are published in one script, up to 1,000 of them.

    Does not guarantee: order between emitters. With ``on_error="dead_letter"`` and Redis away, who gets it is decided
    when it is emitted later; where it is uncertain whether an attempt had got through, that is recognised for as long
    as a receipt is kept (``hardening_receipt_ttl_s``).

    Args:
        signal: its name, such as ``order.created``.
        payload: JSON.
        timeout: for all attempts together, in seconds.
        retries: how often to try again while Redis is away.
        on_error: ``dead_letter``: while Redis is away, the signal is spooled on this host, as the task
            ``hardening.emit``, which a worker of the default queue runs once Redis is back; raise only when that
            failed, too. ``raise``: always raise. ``log``, ``ignore``: never raise what Redis did.
        app: default: the current one.

    Returns:
        Who got it: how many, and what was dropped.

    Raises:
        EmitFailed: Redis did not take it, nor does the spool have it.
        SpoolFull: Redis is away, and the spool has no room.
        ConfigError: the app is not hardened.
        ValueError: an argument that makes no sense.
        kombu.exceptions.EncodeError: the payload is not JSON.

    Events: ``hardening.signal.emitted``, ``.dropped``, ``.unsubscribed``, ``.spooled``; ``hardening.mailbox.filled``.
    """
    owner = _asked(timeout, retries, on_error, app)
    emitting = Emitting(owner, signal, payload)
    attempts = _attempts(owner, timeout, retries)
    try:
        attempts.run(signal, partial(_steps, emitting))
    except (RedisError, BreakerOpen, *TRANSIENT) as error:
        return _not_emitted(owner, signal, payload, emitting.number, attempts, on_error, error)
    return emitting.done()


async def aemit(
    signal: str,
    payload: Any = None,
    *,
    timeout: float = 5.0,  # noqa: ASYNC109 - it is of all attempts
    retries: int = 3,
    on_error: OnError = "dead_letter",
    app: Celery | None = None,
) -> Emission:
    """Emits as :func:`emit` does, without holding up the event loop: only a spool's disk takes a thread.

    Cancelled, it may have been emitted or not.

    Args, returns and raises as ``emit``; besides ``ConfigError`` where TLS is to check what an event loop's connections
    cannot (OCSP).
    """
    owner = _asked(timeout, retries, on_error, app)
    emitting = Emitting(owner, signal, payload)
    attempts = _attempts(owner, timeout, retries)
    try:
        await attempts.run_async(signal, partial(_asteps, emitting, owner), partial(forget_pool, owner))
    except (RedisError, BreakerOpen, *TRANSIENT) as error:
        fall_back = partial(_not_emitted, owner, signal, payload, emitting.number, attempts, on_error, error)
        return await asyncio.to_thread(travel.carry(fall_back))
    return emitting.done()


def emit_again(app: Celery, signal: str, payload: Any, number: Number) -> Emission:
    """Emits what could not be emitted at once, unless it was; in the task that does so.

    Raises:
        EmitFailed: Redis did not take it.
    """
    emitting = Emitting(app, signal, payload, again=number)
    attempts = _attempts(app, 5.0, 3)
    try:
        attempts.run(signal, partial(_steps, emitting))
    except (RedisError, BreakerOpen, *TRANSIENT) as error:
        raise EmitFailed(signal, attempts.count, error, is_uncertain=attempts.is_uncertain) from error
    return emitting.done()


def _steps(emitting: Emitting, client: Redis) -> None:
    while (call := emitting.call()) is not None:
        emitting.hear(call.run(client))


async def _asteps(emitting: Emitting, app: Celery) -> None:
    pool = await pool_of(app)
    while (call := emitting.call()) is not None:
        emitting.hear(await run_async(call, pool))


def _asked(timeout_s: float, retries: int, on_error: OnError, app: Celery | None) -> Celery:
    if on_error not in get_args(OnError):
        raise ValueError(f"on_error is {on_error!r}, expected one of: {', '.join(get_args(OnError))}")
    if not 0 < timeout_s < float("inf"):
        raise ValueError(f"timeout is {timeout_s!r}, expected a positive number of seconds")
    if retries < 0:
        raise ValueError(f"retries is {retries!r}, expected 0 or more")
    found: Any = owner_of("", app)
    # What is kept of an app must not follow the current one.
    owner: Celery = getattr(found, "_get_current_object", lambda: found)()
    return owner


def _attempts(app: Celery, timeout_s: float, retries: int) -> Attempts:
    return Attempts(app, retries=retries, timeout_s=timeout_s, breaker=fallback_of(app).breaker)


def _not_emitted(
    app: Celery, signal: str, payload: Any, number: Number, attempts: Attempts, on_error: OnError, away: Exception
) -> Emission:
    """Redis did not take it, as far as is known: a spool may, or that is told as was asked."""
    if on_error == "dead_letter" and isinstance(away, (BreakerOpen, *TRANSIENT)):
        try:
            receipt = supervised_send(EMIT_TASK, (signal, payload, *number), retries=0, timeout=0.5, app=app)
        except PublishFailed as unsent:
            raise EmitFailed(signal, attempts.count, away, is_uncertain=attempts.is_uncertain) from unsent
        telemetry.emit(SignalSpooled(signal=signal, receipt=receipt.id, why=f"{type(away).__name__}: {away}"))
        return Emission(signal, spooled=receipt)
    failed = EmitFailed(signal, attempts.count, away, is_uncertain=attempts.is_uncertain)
    if on_error in ("raise", "dead_letter"):
        raise failed from away
    if on_error == "log":
        logger.error("%s", failed)
    return Emission(signal, failed=failed)
