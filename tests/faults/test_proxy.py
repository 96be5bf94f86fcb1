"""The proxy that the fault tests rely on does what it says."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from tests.eventually import eventually
from tests.faults.proxy import Proxy

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server


def _client(proxy: Proxy) -> Redis:
    return Redis(host="127.0.0.1", port=proxy.port, socket_timeout=5.0, retry=Retry(NoBackoff(), 0))


def test_a_proxy_outlives_the_redis_behind_it(own_broker: EmbeddedRedis) -> None:
    """Whoever connects meanwhile is hung up on at once; when Redis is back, connections pass as before."""
    with Proxy(own_broker.broker_url) as proxy, _client(proxy) as client:
        assert client.ping()
        own_broker.kill()
        for _ in range(3):
            with pytest.raises(RedisConnectionError, match=r"closed by server|reset by peer"):
                client.ping()
        own_broker.restart()
        assert client.ping()


def test_a_proxy_that_holds_a_word_lets_the_others_pass(own_broker: EmbeddedRedis) -> None:
    """Only the connection that carries it stands still, and loses nothing by it."""
    with Proxy(own_broker.broker_url) as proxy, _client(proxy) as slow, _client(proxy) as quick:
        proxy.hold(b"needle")
        writer = threading.Thread(target=slow.set, args=("key", "needle"))
        writer.start()
        eventually(lambda: proxy.held == 1)
        assert quick.get("key") is None
        proxy.release()
        writer.join(5)
        assert quick.get("key") == b"needle"
