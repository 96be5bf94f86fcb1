"""One hardened app and its Redis: its settings, and a client for whoever is not a worker."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakSet

from celery import _state
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from hardening.core.errors import ConfigError
from hardening.core.forked import forked_lock
from hardening.core.redaction import SECRET_NAMES, Redactor
from hardening.core.scripts import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery
    from redis import ConnectionPool

    from hardening.core.settings import Settings

__all__ = [
    "LEAST_PATIENCE_S",
    "channel_of",
    "client_of",
    "forget_clients",
    "is_hardened",
    "redactor_here",
    "scope_of",
    "set_settings",
    "settings_of",
]

_SETTINGS = "_hardening_settings"
_CLIENTS = "_hardening_clients"
_SCOPE = "_hardening_scope"
#: Of kombu's channel: what it asks when it is made, and how many connections it allows itself. Ours are one
#: for each thread that sends or waits; a user's own limit stays.
_UNASKED = {"client": SimpleNamespace(ping=lambda: None), "max_connections": 2**31}
#: The least patience that anybody has with Redis, and the steps of it, in seconds.
LEAST_PATIENCE_S = 0.1
_PATIENCE_S = (LEAST_PATIENCE_S, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_mutex = forked_lock()
_hardened: WeakSet[Celery] = WeakSet()


def set_settings(app: Celery, settings: Settings) -> None:
    """Marks an app as hardened."""
    setattr(app, _SETTINGS, settings)
    _hardened.add(app)


def is_hardened(app: Celery) -> bool:
    """Whether ``harden(app)`` was called."""
    return hasattr(app, _SETTINGS)


def settings_of(app: Celery) -> Settings:
    """The settings of a hardened app.

    Raises:
        ConfigError: the app is not hardened.
    """
    settings: Settings | None = getattr(app, _SETTINGS, None)
    if settings is None:
        raise ConfigError(f"the app {app.main!r} is not hardened: call hardening.harden(app) where it is made")
    return settings


def redactor_here() -> Redactor:
    """Masks what is secret in any app of this process that is in use; for texts that belong to no app."""
    in_use: Any = vars(_state)["_apps"]
    said = [settings_of(app).redact for app in tuple(_hardened) if app in in_use]
    return _redactor(frozenset(name for names in said for name in names) if said else frozenset(SECRET_NAMES))


@lru_cache(maxsize=8)
def _redactor(names: frozenset[str]) -> Redactor:
    return Redactor(names)


def scope_of(app: Celery, actor: str = "") -> Scope:
    """How calls for this app sign themselves."""
    settings = settings_of(app)
    if actor:
        return Scope(settings.keys, settings.receipt_ttl_ms, actor)
    scope: Scope | None = vars(app).get(_SCOPE)
    if scope is None:
        scope = Scope(settings.keys, settings.receipt_ttl_ms, "")
        setattr(app, _SCOPE, scope)
    return scope


def client_of(app: Celery, *, patience_s: float | None = None) -> Redis:
    """A client of the app's broker, shared by all threads of this process; replies are bytes.

    It is made with kombu's own connection parameters, so TLS, Sentinel, credentials and timeouts are the
    broker's. It connects when it is first used. After a fork the child gets one of its own.

    Args:
        app: whose broker.
        patience_s: how long its sockets may wait, in seconds, when that is less than
            ``hardening_socket_timeout_s``; rounded down to one of a few steps, each of which has a client.

    Raises:
        ConfigError: the app is not hardened.
    """
    step_s = _step_below(patience_s, settings_of(app).socket_timeout_s)
    with _mutex:
        clients: dict[float, Redis]
        pid, clients = getattr(app, _CLIENTS, (0, {}))
        if pid != os.getpid():
            clients = {}
            setattr(app, _CLIENTS, (os.getpid(), clients))
        if step_s not in clients:
            clients[step_s] = _connect(app, step_s)
        return clients[step_s]


def forget_clients(app: Celery) -> None:
    """Has the next :func:`client_of` look anew, if the app has several brokers, for one that answers.

    Without the lock: event loops call this, too, and whoever holds it may be asking brokers.
    """
    if len(app.connection_for_write().alt) > 1:
        setattr(app, _CLIENTS, (0, {}))


def _step_below(patience_s: float | None, most_s: float) -> float:
    if patience_s is None or patience_s >= most_s:
        return most_s
    return max((step for step in _PATIENCE_S if step <= patience_s), default=LEAST_PATIENCE_S)


def _connect(app: Celery, patience_s: float) -> Redis:
    """A client of the first of the app's brokers that answers; if it has but one, of that."""
    with app.connection_for_write() as connection:
        client = Redis(connection_pool=_pool_for(connection, patience_s))
        for _ in connection.alt[1:]:
            if urlsplit(connection.alt[0]).scheme == "sentinel":
                break  # they are not brokers, but all know the one
            with suppress(RedisError):
                client.ping()
                break
            connection.maybe_switch_next()
            client = Redis(connection_pool=_pool_for(connection, patience_s))
    return client


@contextmanager
def channel_of(app: Celery, client: Redis) -> Iterator[Any]:
    """A channel of kombu's, for its declarations and routes, that talks over one of our clients."""
    with app.connection_for_write() as connection, _unasked(connection) as channel:
        channel._pool = client.connection_pool
        try:
            yield channel
        finally:
            channel._pool = None  # or it would be closed with the channel


def _pool_for(connection: Any, patience_s: float) -> ConnectionPool:
    options = connection.transport_options
    patience = {"socket_timeout": patience_s, "socket_connect_timeout": patience_s}
    asking = {**patience, "retry": Retry(NoBackoff(), 0), **(options.get("sentinel_kwargs") or {})}
    connection.transport_options = {**options, **patience, "sentinel_kwargs": asking}
    with _unasked(connection) as channel:
        return channel._get_pool()  # type: ignore[no-any-return]


@contextmanager
def _unasked(connection: Any) -> Iterator[Any]:
    """A channel such as kombu makes, but without asking Redis first whether it is there."""
    channel = type("UnaskedChannel", (connection.transport.Channel,), _UNASKED)(connection.transport)
    try:
        yield channel
    finally:
        channel.close()
