"""The transports that ``harden(app)`` puts behind ``redis://``, ``rediss://`` and ``sentinel://``."""

from __future__ import annotations

from ssl import CERT_REQUIRED
from typing import Any

from kombu import Connection as KombuConnection
from kombu.connection import ConnectionPool as KombuConnectionPool
from kombu.connection import PooledConnection as KombuPooledConnection
from kombu.transport import redis as kombu_redis

from hardening.transport.channel import HardeningChannel, SentinelChannel
from hardening.transport.poller import Poller

__all__ = ["Connection", "SentinelTransport", "Transport"]


#: What ``rediss://`` means when it says no more.
_VERIFIED = {"ssl_cert_reqs": CERT_REQUIRED}


class Connection(KombuConnection):
    """kombu's connection, which keeps the transport it was given, and verifies certificates.

    kombu prefers what the URL says: for ``redis+socket://`` at once, and for any alternate as soon as it
    fails over, so that the stock transport would come back without a word. And where ``rediss://`` says no
    more, it verifies nothing.
    """

    ssl: Any

    def __init__(self, hostname: Any = "localhost", *args: Any, **kwargs: Any) -> None:
        super().__init__(hostname, *args, **kwargs)
        first = hostname if isinstance(hostname, str) else next(iter(hostname or ()), "")
        self._settle(kwargs.get("transport"), first)

    def switch(self, conn_str: str) -> None:
        """Turns to another URL without connecting yet."""
        transport = self.transport_cls
        super().switch(conn_str)
        self._settle(transport, conn_str)

    def Pool(self, limit: int | None = None, **kwargs: Any) -> ConnectionPool:  # noqa: N802 - kombu's name
        """A pool of connections like this one: Celery's producers have theirs from there."""
        return ConnectionPool(self, limit, **kwargs)

    def _init_params(self, *, transport: Any, ssl: Any, **params: Any) -> None:
        if transport == "rediss" and not ssl:
            ssl = dict(_VERIFIED)
        super()._init_params(transport=transport, ssl=ssl, **params)

    def as_uri(self, *args: Any, **kwargs: Any) -> str:
        """The URL for people: with the scheme they wrote, not with our transport's name."""
        uri: str = super().as_uri(*args, **kwargs)
        name = self.transport_cls
        if not isinstance(name, str) or not uri.startswith(f"{name}://"):
            return uri
        scheme = "sentinel" if name.endswith("SentinelTransport") else "rediss" if self.ssl else "redis"
        return scheme + uri[len(name) :]

    def _settle(self, transport: Any, url: str) -> None:
        if isinstance(transport, str) and transport.startswith("hardening."):
            self.transport_cls = transport
            if url.startswith("rediss://") and not self.ssl:
                self.ssl = dict(_VERIFIED)


class PooledConnection(KombuPooledConnection, Connection):
    """A connection of a pool, which kombu would make of its own kind."""


class ConnectionPool(KombuConnectionPool):
    """A pool of such connections."""

    def new(self) -> PooledConnection:
        """One more."""
        return PooledConnection(self, **dict(self.connection._info(resolve=False)))


class Transport(kombu_redis.Transport):
    """The transport for one Redis, over TCP, TLS or a Unix socket."""

    Channel = HardeningChannel
    implements = kombu_redis.Transport.implements.extend(batch_publish=False)
    supports_batch_publish = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Hands the sockets to Celery's event loop."""
        super().register_with_event_loop(connection, loop)
        self.cycle.watch_nudges(loop)
        loop.call_repeatedly(1.0, self.cycle.check_overdue)


class SentinelTransport(Transport):
    """The transport for a Redis that Sentinels watch over."""

    default_port = 26379
    Channel = SentinelChannel
