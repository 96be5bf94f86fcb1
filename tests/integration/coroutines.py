"""Running coroutines in tests, and catching what only pretends to be one."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hardening.delivery.async_client import pool_of
from tests.integration.spooling import AWAY

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from celery import Celery

__all__ = ["arun", "run", "threadless", "until"]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine in a loop of its own, not for ever."""

    async def whole() -> Any:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(whole())


def arun(app: Celery, work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine in a loop of its own, and closes the app's connections in it."""

    async def whole() -> Any:
        try:
            async with asyncio.timeout(60):
                return await work
        finally:
            if app.conf.broker_url != AWAY:
                await (await pool_of(app)).disconnect()

    return asyncio.run(whole())


async def until(holds: Callable[[], bool]) -> None:
    """Waits for something, as ``eventually`` does in a thread; whoever runs it gives up in time."""
    while not holds():  # noqa: ASYNC110 - nobody tells this process of what happens in Redis
        await asyncio.sleep(0.02)


@contextmanager
def threadless() -> Iterator[None]:
    """A block in which the running loop can hand nothing to a thread."""
    loop: Any = asyncio.get_running_loop()

    def refuse(*_: Any) -> Any:
        raise AssertionError("a thread was asked for")

    loop.run_in_executor = refuse
    try:
        yield
    finally:
        del loop.run_in_executor
