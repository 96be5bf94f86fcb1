"""What redis-py does for us when a coroutine is cancelled: no connection goes back with an answer still to come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import BlockingConnectionPool

from hardening.core.keys import Keys
from hardening.core.scripts.calls import watch
from hardening.delivery.async_client import run_async
from hardening.delivery.async_sentinel import AsyncSentinelPool
from tests.faults.proxy import Proxy
from tests.integration.coroutines import until

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis

KEYS = Keys("nobody")


class Known:
    """What Sentinels would answer."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def discover_master(self, _: str) -> tuple[str, int]:
        """Where the master is."""
        return "127.0.0.1", self.port


def _direct(port: int) -> Any:
    return BlockingConnectionPool(1, host="127.0.0.1", port=port, db=1, socket_timeout=60)


def _by_sentinel(port: int) -> Any:
    make: Any = AsyncSentinelPool
    return make("m", Known(port), max_connections=1, db=1, socket_timeout=60)


@pytest.mark.one_server
@pytest.mark.parametrize("make", [_direct, _by_sentinel])
@pytest.mark.parametrize("needle", ["SELECT", "held"], ids=["greeting", "reply"])
def test_a_connection_with_an_answer_to_come_is_closed(server: EmbeddedRedis, make: Any, needle: str) -> None:
    """Cancelled while it greets Redis, and while it waits for a reply; the next call reads its own."""

    async def cancelled(proxy: Proxy) -> None:
        pool = make(proxy.port)
        if needle == "held":
            await run_async(watch(KEYS, "warm", 1), pool)
        proxy.hold(needle.encode())
        task = asyncio.create_task(run_async(watch(KEYS, "held", 1), pool))
        async with asyncio.timeout(20):
            await until(lambda: proxy.held == 1)
        (connection,) = pool._in_use_connections
        assert connection.is_connected
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not connection.is_connected
        assert pool._available_connections == [connection]
        proxy.release()
        assert await run_async(watch(KEYS, "next", 1), pool) == []
        await BlockingConnectionPool.disconnect(pool)

    with Proxy(server.broker_url) as proxy:
        asyncio.run(cancelled(proxy))
