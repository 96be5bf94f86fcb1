"""Connections of an event loop to the app's broker, made as those of threads are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from hiredis import pack_command
from redis.asyncio import connection as async_redis
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.exceptions import NoScriptError, ResponseError
from redis.sentinel import SentinelConnectionPool

from hardening.core.deployment import client_of
from hardening.core.errors import ConfigError

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.scripts import Call

__all__ = ["forget_pool", "pool_of", "run_async"]

#: The most connections of one loop; further sends wait for one.
_MOST = 32
#: What either kind of connection understands.
_SHARED = frozenset(
    {"host", "port", "path", "db", "username", "password", "credential_provider", "client_name", "protocol"}
    | {"socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options"}
    | {"ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path"}
    | {"ssl_check_hostname", "ssl_min_version", "ssl_ciphers"}
)
_POOLS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, Any]] = WeakKeyDictionary()


async def pool_of(app: Celery) -> Any:
    """The pool of this loop for an app's broker.

    Raises:
        ConfigError: the app is not hardened, or its broker is behind Sentinel.
    """
    pools = _POOLS.setdefault(asyncio.get_running_loop(), {})
    if id(app) not in pools:
        client = await asyncio.to_thread(client_of, app)  # which of several brokers answers is asked over a socket
        pools.setdefault(id(app), _like(client.connection_pool))  # others may have made one meanwhile
    return pools[id(app)]


async def forget_pool(app: Celery) -> None:
    """Has the next send look anew, if the app has several brokers, for one that answers."""
    if len(app.connection_for_write().alt) <= 1:
        return
    pool = _POOLS.get(asyncio.get_running_loop(), {}).pop(id(app), None)
    if pool is not None:
        await pool.disconnect()


def _like(pool: Any) -> Any:
    if isinstance(pool, SentinelConnectionPool):
        raise ConfigError("asupervised_send does not know Sentinel: use asyncio.to_thread(supervised_send, ...)")
    kind: type[Any] = async_redis.Connection
    if issubclass(pool.connection_class, UnixDomainSocketConnection):
        kind = async_redis.UnixDomainSocketConnection
    elif issubclass(pool.connection_class, SSLConnection):
        kind = async_redis.SSLConnection
    options = {name: value for name, value in pool.connection_kwargs.items() if name in _SHARED}
    timeout_s = options.get("socket_timeout")
    return async_redis.BlockingConnectionPool(_MOST, timeout=timeout_s, connection_class=kind, **options)


async def run_async(call: Call, pool: Any) -> Any:
    """Runs a script and waits for its reply, as ``Call.run`` does.

    However it ends, also by cancellation, no connection goes back to the pool with an answer still to come.
    """
    try:
        connection = await pool.get_connection()
    except BaseException:  # what was cut short while it greeted Redis is idle in the pool now, its answer to come
        await pool.disconnect(inuse_connections=False)
        raise
    try:
        try:
            return await _round_trip(connection, call.command)
        except NoScriptError:
            return await _round_trip(connection, call.full_command)
        except ResponseError as error:
            told = call.told(error)
            if told is error:
                raise
            raise told from error
    except ResponseError:
        raise
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        await asyncio.shield(pool.release(connection))


async def _round_trip(connection: Any, command: Any) -> Any:
    await connection.send_packed_command(pack_command(command), check_health=False)
    return await connection.read_response()
