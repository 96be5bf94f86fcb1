"""What stock workers left behind.

A stock worker keeps what it took in the hash ``unacked`` and has no lease. Stock Celery gives that back
when it is older than the visibility timeout, an hour by default. We give it back as soon as no stock
worker is left on this Redis: none of its clients listens for messages or remote control, except ours,
which carry our name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError

from hardening.core import telemetry
from hardening.core.keys import UNACKED, UNACKED_INDEX, list_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.calls import restore_stock

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.settings import Settings

__all__ = ["CLIENT_NAME", "StockRestorer", "is_listening"]

#: The name every connection of a hardened consumer gives itself.
CLIENT_NAME = "celery-hardening"

_BATCH = 100
#: kombu's default; what is older comes back whoever is alive.
_VISIBILITY_TIMEOUT_S = 3600.0


class StockRestorer:
    """Gives back what stock workers held, once they are gone.

    Args:
        client: a client for the sweeper's thread.
        settings: for the lease, which is also how long nobody must have been seen.
    """

    def __init__(self, client: Redis, settings: Settings) -> None:
        self._client = client
        self._keys = settings.keys
        self._quiet_s = settings.lease_ttl_s
        self._alone_since_s: float | None = None

    def run_once(self) -> int:
        """Looks once.

        Returns:
            How many messages were given back.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        if not self._client.hlen(UNACKED):
            self._alone_since_s = None
            return 0
        now_s = boot_clock_s()
        if self._is_stock_worker_alive():
            self._alone_since_s = None
        elif self._alone_since_s is None:
            self._alone_since_s = now_s
        alone = self._alone_since_s is not None and now_s - self._alone_since_s >= self._quiet_s
        return self._restore(older_than_s=0.0 if alone else _VISIBILITY_TIMEOUT_S)

    def _is_stock_worker_alive(self) -> bool:
        try:
            clients: list[dict[str, str]] = self._client.client_list()
        except NoPermissionError:
            return True  # without the right to look, age alone decides
        return any(client["name"] != CLIENT_NAME and is_listening(client) for client in clients)

    def _restore(self, *, older_than_s: float) -> int:
        seconds, micros = self._client.time()
        latest = seconds + micros / 1e6 - older_than_s
        restored = 0
        tags: list[Any] = self._client.zrangebyscore(UNACKED_INDEX, "-inf", latest, start=0, num=_BATCH)
        for tag in tags:
            stored: Any = self._client.hget(UNACKED, tag)
            if stored is not None:
                restored += self._restore_one(tag, stored)
        if restored:
            telemetry.emit(telemetry.StockRestored(restored=restored))
        return restored

    def _restore_one(self, tag: bytes, stored: bytes) -> int:
        payload, exchange, routing_key = json.loads(stored)
        if exchange:  # a topic or a direct exchange of its own: only a stock worker knows its bindings
            return 0
        raw = json.dumps(payload).encode()
        list_key = list_of(routing_key, int(payload.get("properties", {}).get("priority") or 0))
        return int(restore_stock(self._keys, tag, list_key, raw).run(self._client))


def is_listening(client: dict[str, str]) -> bool:
    """Whether a client of Redis waits for messages or remote control, as workers do."""
    subscribed = int(client.get("psub", 0)) + int(client.get("sub", 0))
    return subscribed > 0 or client.get("cmd") == "brpop"
