"""Connections of an event loop to the app's broker, made as those of threads are."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from hiredis import pack_command
from redis.asyncio import connection as async_redis
from redis.asyncio import sentinel as async_sentinel
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError
from redis.sentinel import SentinelConnectionPool

from hardening.core.deployment import client_of
from hardening.core.errors import ConfigError
from hardening.delivery.async_sentinel import AsyncSentinelPool, sentinel_pool_like
from hardening.delivery.cancellation import Heed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping

    from celery import Celery

    from hardening.core.scripts import Call

__all__ = ["forget_pool", "lent_by", "pool_of", "round_trip", "run_async", "run_on", "send_all"]

#: The most connections of one loop; further sends wait for one.
_MOST = 32
#: The most on which one loop listens for changes, apart from those, and for how long others wait for one, in seconds:
#: they ask again and again.
_MOST_LISTENING, _TURN_S = 64, 0.25
#: What either kind of connection understands.
_SHARED = frozenset(
    {"host", "port", "path", "db", "username", "password", "credential_provider", "client_name", "protocol"}
    | {"socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options"}
    | {"ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path"}
    | {"ssl_check_hostname", "ssl_min_version", "ssl_ciphers", "ssl_password"}
    | {"ssl_include_verify_flags", "ssl_exclude_verify_flags"}
)
#: By app, and whether it listens. An app is kept with its connections, or another might get its place in memory, and
#: them.
_POOLS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Celery, bool], Any]] = WeakKeyDictionary()
#: What each loop that has pools ends with.
_ENDS: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None]] = WeakKeyDictionary()


async def pool_of(app: Celery, *, listens: bool = False) -> Any:
    """The pool of this loop for an app's broker; its connections are closed when the loop ends.

    Args:
        app: whose broker.
        listens: for commands that block on the server, so that no send ever waits for their end.

    Raises:
        ConfigError: the app is not hardened, or wants of TLS what no event loop's connection checks.
    """
    loop = asyncio.get_running_loop()
    pools = _POOLS.setdefault(loop, {})
    kind = (app, listens)
    if kind not in pools:
        if loop not in _ENDS:
            _forget_closed()
            _ENDS[loop] = _closing()
            await anext(_ENDS[loop])
        client = await asyncio.to_thread(client_of, app)  # which of several brokers answers is asked over a socket
        pools.setdefault(kind, _like(client.connection_pool, listens=listens))  # others may have made one meanwhile
    return pools[kind]


async def _closing() -> AsyncGenerator[None]:
    """Waits for the end of its loop: ``asyncio.run``, as whoever else ends one properly, closes generators then.

    Nobody else knows when a loop ends, and once it has, its connections cannot be closed any more.
    """
    try:
        yield
    finally:
        loop = asyncio.get_running_loop()
        _ENDS.pop(loop, None)
        for pool in _POOLS.pop(loop, {}).values():
            await pool.disconnect()


def _forget_closed() -> None:
    """Leaves to Python what loops left open that were closed without ending their generators, which end too late then.

    Nobody else would: their connections hold the loop by which they are kept.
    """
    for made in _POOLS.keyrefs():
        loop = made()
        if loop is not None and loop.is_closed():
            _POOLS.pop(loop, None)
            _ENDS.pop(loop, None)


async def forget_pool(app: Celery) -> None:
    """Has the next send look anew, if the app has several brokers, for one that answers.

    Several Sentinels are no such: whoever connects through them looks anew each time.
    """
    pools = _POOLS.get(asyncio.get_running_loop(), {})
    for kind in ((app, False), (app, True)):
        if kind in pools and not isinstance(pools[kind], AsyncSentinelPool):
            if len(app.connection_for_write().alt) <= 1:
                return
            await pools.pop(kind).disconnect()


def _like(pool: Any, *, listens: bool) -> Any:
    """A pool that reaches the same Redis in the same way."""
    is_tls = issubclass(pool.connection_class, SSLConnection)
    options = _options_like(pool.connection_kwargs)
    options |= {"max_connections": _MOST, "timeout": options.get("socket_timeout")}
    if listens:
        options |= {"max_connections": _MOST_LISTENING, "timeout": _TURN_S}
    kind: type[Any]
    if isinstance(pool, SentinelConnectionPool):
        kind = async_sentinel.SentinelManagedSSLConnection if is_tls else async_sentinel.SentinelManagedConnection
        return sentinel_pool_like(pool, _options_like, connection_class=kind, **options)
    kind = async_redis.SSLConnection if is_tls else async_redis.Connection
    if issubclass(pool.connection_class, UnixDomainSocketConnection):
        kind = async_redis.UnixDomainSocketConnection
    return async_redis.BlockingConnectionPool(connection_class=kind, **options)


def _options_like(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a connection that either kind understands; without the others it works as well, but for TLS."""
    unknown = [name for name, value in options.items() if name.startswith("ssl_") and value and name not in _SHARED]
    if unknown:
        said = f"asupervised_send cannot honour {', '.join(sorted(unknown))}"
        raise ConfigError(f"{said}: use asyncio.to_thread(supervised_send, ...)")
    return {name: value for name, value in options.items() if name in _SHARED}


@asynccontextmanager
async def lent_by(pool: Any) -> AsyncIterator[Any]:
    """A connection of a pool, for a block.

    However that ends, also by cancellation, redis-py closes a connection whose answer is still to come.
    """
    heed = Heed()
    connection = await pool.get_connection()
    try:
        heed.check()
        yield connection
    finally:
        await asyncio.shield(pool.release(connection))


async def run_async(call: Call, pool: Any) -> Any:
    """Runs a script and waits for its reply, as ``Call.run`` does."""
    async with lent_by(pool) as connection:
        return await run_on(call, connection)


async def run_on(call: Call, connection: Any) -> Any:
    """The same over one connection, which stays the caller's."""
    try:
        try:
            return await round_trip(connection, call.command)
        except NoScriptError:
            return await round_trip(connection, call.full_command)
    except ResponseError as error:
        told = call.told(error)
        if isinstance(told, ReadOnlyError):  # no master any more: whoever connects anew may find who is
            await connection.disconnect(nowait=True)
        if told is error:
            raise
        raise told from error


async def round_trip(connection: Any, command: Any) -> Any:
    """One command over a connection."""
    await send_all(connection, (command,))
    return await connection.read_response()


async def send_all(connection: Any, commands: Iterable[Any]) -> None:
    """Sends commands, whose answers the caller reads; whoever is cancelled meanwhile is."""
    heed = Heed()
    await connection.send_packed_command(b"".join(map(pack_command, commands)), check_health=False)
    if heed.is_cancelled:
        await connection.disconnect(nowait=True)  # for the answers will come
        heed.check()
