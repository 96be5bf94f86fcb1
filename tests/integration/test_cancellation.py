"""Who is cancelled while it talks to Redis is, in whatever turn of the event loop that comes."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import BlockingConnectionPool

from hardening.core.keys import Keys
from hardening.core.scripts.calls import watch
from hardening.delivery.async_client import lent_by, round_trip, run_async
from hardening.delivery.cancellation import Heed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server
KEYS = Keys("nobody")
#: More turns of the loop than a connection takes to be opened, greeted and asked.
TURNS = 200


async def _swallowed(work: Callable[[], Awaitable[object]], turns: int) -> bool | None:
    """Whether work went on that was cancelled after so many turns of the loop; None: it had ended by then."""
    is_cancelled = went_on = False

    async def whole() -> None:
        nonlocal went_on
        await work()
        went_on = is_cancelled
        await asyncio.sleep(0)

    task = asyncio.create_task(whole())
    for _ in range(turns):
        await asyncio.sleep(0)
    if task.done():
        return None
    is_cancelled = task.cancel()
    async with asyncio.timeout(20):
        await asyncio.wait([task])
    return went_on


def _pool(server: EmbeddedRedis) -> Any:
    return BlockingConnectionPool.from_url(server.broker_url, max_connections=1, timeout=20, socket_timeout=20)


@pytest.mark.parametrize("is_open", [False, True], ids=["greeting", "command"])
def test_a_call_ends_in_whatever_turn_it_is_cancelled(server: EmbeddedRedis, *, is_open: bool) -> None:
    """And leaves its connection to the next."""

    async def cancelled() -> list[bool | None]:
        told = []
        pool = _pool(server)
        for turns in range(TURNS):
            if is_open:
                await run_async(watch(KEYS, "warm", 1), pool)
            else:
                await pool.disconnect()
            told.append(await _swallowed(lambda: run_async(watch(KEYS, "nobody", 60_000), pool), turns))
            assert not pool._in_use_connections
            assert await run_async(watch(KEYS, "next", 1), pool) == []
        await pool.disconnect()
        return told

    told = asyncio.run(cancelled())
    assert told[0] is False
    assert True not in told


def test_a_connection_goes_back_whose_opening_kept_a_cancellation_to_itself() -> None:
    """Which is not told of by an exception."""

    class Deaf:
        """A pool that lends a connection to whoever is cancelled meanwhile."""

        lent = 0

        async def get_connection(self) -> object:
            self.lent += 1
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            return object()

        async def release(self, _: object) -> None:
            self.lent -= 1

    pool = Deaf()

    async def borrow() -> None:
        async with lent_by(pool):
            raise AssertionError("it was cancelled")

    assert asyncio.run(_swallowed(borrow, 3)) is False
    assert pool.lent == 0


def test_a_connection_is_closed_that_kept_a_cancellation_to_itself() -> None:
    """For the answer to what it sent is still to come."""

    class Deaf:
        """A connection that sends, also for whoever is cancelled meanwhile."""

        is_open = True

        async def send_packed_command(self, _: bytes, *, check_health: bool) -> None:
            assert not check_health
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

        async def disconnect(self, *, nowait: bool) -> None:
            self.is_open = not nowait

    connection = Deaf()
    assert asyncio.run(_swallowed(lambda: round_trip(connection, ("PING",)), 3)) is False
    assert not connection.is_open


def test_what_asyncio_keeps_to_itself() -> None:
    """With Python 3.12 this is over, and :class:`Heed` may go once that is the oldest that is supported."""

    async def waited() -> list[bool | None]:
        return [await _swallowed(lambda: asyncio.wait_for(asyncio.sleep(0), 20), turns) for turns in range(8)]

    assert (True in asyncio.run(waited())) is (sys.version_info < (3, 12))


def test_who_was_cancelled_before_is_not_cancelled_again() -> None:
    """What cleans up after a cancellation may talk to Redis as well."""

    async def cleans() -> list[bool]:
        told = []
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            heed = Heed()
            await asyncio.sleep(0)
            heed.check()
            told.append(heed.is_cancelled)
        return told

    async def whole() -> list[bool]:
        task = asyncio.create_task(cleans())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(whole()) == [False]
