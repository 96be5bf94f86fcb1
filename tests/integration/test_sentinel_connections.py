"""Connections to a Redis that Sentinels name: redis-py closes them less readily than others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import SentinelConnectionPool

from hardening.core.embedded import EmbeddedRedis
from hardening.core.keys import Keys
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.calls import count_repeat, watch
from hardening.delivery.async_client import run_async
from hardening.delivery.replication import Replication
from hardening.transport.line import Line
from tests.eventually import eventually
from tests.faults.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


KEYS = Keys("nobody")


class Known:
    """What Sentinels would answer."""

    def __init__(self, port: int) -> None:
        self.port = port

    def discover_master(self, _: str) -> tuple[str, int]:
        """Where the master is."""
        return "127.0.0.1", self.port


@pytest.fixture
def proxy(server: EmbeddedRedis) -> Iterator[Proxy]:
    """The way to the master."""
    with Proxy(server.broker_url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Redis]:
    """A client with one connection, which is patient for a moment."""
    make: Any = SentinelConnectionPool
    pool = make("m", Known(proxy.port), socket_timeout=0.3, max_connections=1)
    with Redis(connection_pool=pool) as client:
        client.ping()
        yield client
    pool.disconnect()


def _run(client: Redis, _: Any) -> None:
    watch(KEYS, "held", 1).run(client)


def _ask_later(client: Redis, _: Any) -> None:
    watch(KEYS, "held", 1).begin(client).reply()


def _pump(_: Redis, connection: Any) -> None:
    line = Line(connection)
    line.send(watch(KEYS, "held", 1), print)
    line.drain()


def _wait(_: Redis, connection: Any) -> None:
    Replication(1, on_disk=False, until_s=boot_clock_s() + 9, keys=Keys("held")).reached(connection)


@pytest.mark.one_server
@pytest.mark.parametrize("use", [_run, _ask_later, _pump, _wait])
def test_a_connection_whose_reply_did_not_come_is_closed(
    client: Redis, proxy: Proxy, use: Callable[[Redis, Any], None]
) -> None:
    """Or the next command would read that reply, should it come just then."""
    pool: Any = client.connection_pool
    connection = pool.get_connection()
    if use in (_run, _ask_later):
        pool.release(connection)  # they ask the pool
    proxy.hold(b"WAIT" if use is _wait else b"held")
    with pytest.raises(RedisTimeoutError):
        use(client, connection)
    eventually(lambda: proxy.held == 1)
    assert not connection.is_connected
    proxy.release()


def test_a_loops_connection_to_what_is_no_master_any_more_is_closed(binary: str, keys: Keys) -> None:
    """Likewise."""

    async def refused(url: str) -> bool:
        pool = BlockingConnectionPool.from_url(url)
        await run_async(count_repeat(keys), pool)
        with Redis.from_url(url) as client:
            client.replicaof("127.0.0.1", "1")
        with pytest.raises(ReadOnlyError):
            await run_async(count_repeat(keys), pool)
        (connection,) = pool._available_connections
        return bool(connection.is_connected)

    with EmbeddedRedis(server=binary, port=0) as own:
        assert not asyncio.run(refused(own.url))


@pytest.mark.parametrize("later", [False, True])
def test_a_connection_to_what_is_no_master_any_more_is_closed(binary: str, keys: Keys, *, later: bool) -> None:
    """On every Redis; who connects anew may find the master."""
    with EmbeddedRedis(server=binary) as own, own.client() as client:
        call = count_repeat(keys)
        call.run(client)
        client.replicaof("127.0.0.1", "1")
        connection: Any = vars(client.connection_pool)["_hardening_kept"][0]
        assert connection.is_connected
        with pytest.raises(ReadOnlyError):
            call.begin(client).reply() if later else call.run(client)
        assert not connection.is_connected
