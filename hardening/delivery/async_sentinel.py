"""Connections of an event loop to a broker that Sentinels watch over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio import sentinel as async_redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import SSLConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis.sentinel import SentinelConnectionPool

__all__ = ["AsyncSentinelPool", "sentinel_pool_like"]


class AsyncSentinelPool(async_redis.SentinelConnectionPool, BlockingConnectionPool):
    """A bounded pool whose connections ask the Sentinels, each time they connect, who the master is."""

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        """Closes its connections; with those in use, also those to the Sentinels."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.aclose()


def sentinel_pool_like(
    pool: SentinelConnectionPool, options_like: Callable[[Mapping[str, Any]], dict[str, Any]], **options: Any
) -> AsyncSentinelPool:
    """A pool of the same master, found through the same Sentinels, reached as they are.

    Args:
        pool: that of threads.
        options_like: what an event loop's connections understand of the options of threads' connections.
        options: of the pool and of its connections to the master.
    """
    known: Any = pool.sentinel_manager
    make_manager: Any = async_redis.Sentinel
    make_pool: Any = AsyncSentinelPool
    manager = make_manager([], known.min_other_sentinels)
    for sentinel in known.sentinels:
        asked = sentinel.connection_pool.connection_kwargs
        is_tls = issubclass(sentinel.connection_pool.connection_class, SSLConnection)
        # A Sentinel that does not answer is not asked again: the next one is, and the send has retries of its own.
        manager.sentinels.append(Redis(**options_like(asked), ssl=is_tls, retry=Retry(NoBackoff(), 0)))
    made: AsyncSentinelPool = make_pool(pool.service_name, manager, is_master=pool.is_master, **options)
    return made
