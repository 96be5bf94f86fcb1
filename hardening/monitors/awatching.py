"""Monitors from a coroutine."""

from __future__ import annotations

import asyncio
import inspect
import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from hardening.core.deployment import client_of
from hardening.core.errors import ConfigError
from hardening.delivery.async_client import pool_of, run_async
from hardening.monitors.durable import durable, durable_ref
from hardening.monitors.errors import MonitorFailed
from hardening.monitors.watching import When, block_when, demonitor, leave_block, prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from celery import Celery
    from celery.canvas import Signature
    from celery.result import AsyncResult

    from hardening.core.scripts import Call
    from hardening.delivery.receipt import Receipt
    from hardening.monitors.down import Down
    from hardening.monitors.ref import MonitorRef
    from hardening.monitors.target import Target

__all__ = ["ademonitor", "amonitor", "amonitoring"]


async def amonitor(
    target: Target | Receipt | AsyncResult[Any] | str,
    tag: str = "",
    *,
    on_down: Callable[[Down], Any] | Signature[Any] | None = None,
    leak_after: float = 300.0,
    durable_for: float | None = None,
    when: When = "now",
    app: Celery | None = None,
) -> MonitorRef:
    """Watches as :func:`~hardening.monitors.monitor` does, without holding up the event loop.

    What is called on a down is called, and awaited if it is to be, in this event loop. Cancelled, there is no monitor.

    Args, returns and raises as ``monitor``.
    """
    owner, held = prepare(target, tag, on_down, leak_after, when, app)
    if durable_for is not None:
        lasting, call = durable(owner, held, durable_for, when)
        try:
            return durable_ref(owner, lasting, tag, await _run(owner.app, call))
        except (RedisError, OSError) as error:
            raise MonitorFailed(lasting.target, error, is_durable=True) from error
    held.loop = asyncio.get_running_loop() if inspect.iscoroutinefunction(on_down) else None
    if when == "later":
        return owner.later(held)
    call = owner.begin(held)
    try:
        reply = await _run(owner.app, call)
    except (RedisError, OSError) as error:
        raise owner.failed(held, error) from error
    except BaseException:
        if owner.table.take(held.errand.id) is not None:
            owner.owe([held.ref])
        raise
    return owner.kept(held, reply)


async def ademonitor(ref: MonitorRef | str, *, app: Celery | None = None) -> bool:
    """Ends a monitor as :func:`~hardening.monitors.demonitor` does, without holding up the event loop."""
    return await asyncio.to_thread(partial(demonitor, ref, app=app))


@asynccontextmanager
async def amonitoring(
    target: Target | Receipt | AsyncResult[Any] | str, tag: str = "", *, when: When | None = None, **options: Any
) -> AsyncIterator[MonitorRef]:
    """A monitor for as long as a block lasts, however that ends, also by cancellation; as ``monitoring``.

    Yields:
        What :func:`amonitor` returns.
    """
    ref = await amonitor(target, tag, when=when or block_when(**options), **options)
    try:
        yield ref
    finally:
        if ref.pid == os.getpid():
            await asyncio.shield(asyncio.to_thread(leave_block, ref))


async def _run(app: Celery, call: Call) -> Any:
    try:
        pool = await pool_of(app)
    except ConfigError:  # behind Sentinel
        return await asyncio.to_thread(partial(call.run, client_of(app)))
    return await run_async(call, pool)
