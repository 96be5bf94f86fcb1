"""Calls that are sent first and asked for later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hardening.core.embedded import EmbeddedRedis
from hardening.core.keys import Keys
from hardening.core.scripts.calls import watch
from tests.conftest import SERVERS
from tests.eventually import eventually
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not SERVERS, reason="no Redis server on this machine")


@pytest.fixture
def single(server: EmbeddedRedis) -> Iterator[Redis]:
    """A client with but one connection."""
    client = Redis.from_url(server.url, socket_timeout=0.3, max_connections=1)
    yield client
    client.close()


def test_redis_works_before_the_reply_is_asked_for(stage: Stage, single: Redis) -> None:
    """Whoever sent it may ask others in between; the connection serves again after."""
    stage.publish("a")
    call = stage.scope.purge(stage.list_key(), 9)
    call.script.cache(stage.client)
    pending = call.begin(single)
    eventually(lambda: stage.ledger().counters.get("purged") == 1)
    assert pending.reply() == 1
    assert stage.scope.purge(stage.list_key(), 9).begin(single).reply() == 0
    assert stage.scope.purge(stage.list_key(), 9).run(single) == 0


def test_what_redis_does_not_know_is_sent_whole(stage: Stage, single: Redis) -> None:
    """As by a call that waits, and over the one connection there is."""
    stage.publish("a")
    stage.client.script_flush()
    assert stage.scope.purge(stage.list_key(), 9).begin(single).reply() == 1
    assert stage.ledger().counters == {"published": 1, "purged": 1}


@pytest.mark.parametrize("executable", [*SERVERS.values()], ids=[*SERVERS])
def test_a_late_refusal_has_its_own_type(executable: str, prefix: str) -> None:
    """On every Redis."""
    with EmbeddedRedis(server=executable) as own, own.client() as client:
        stage = Stage(client, prefix)
        stage.publish("a")
        client.config_set("maxmemory", 1)
        call = stage.scope.publish(stage.list_key(), stage.list_key(), stage.raw("b"))
        with pytest.raises(OutOfMemoryError):
            call.begin(client).reply()
        client.config_set("maxmemory", 0)
        assert stage.state() == State(queued={"q": ["a"]}, rung={"q"})


def test_a_reply_that_came_too_late_is_nobody_elses(stage: Stage, single: Redis) -> None:
    """Its connection is closed, so that the next command does not read it."""
    stage.publish("a")
    single.ping()
    stage.client.client_pause(800)
    pending = stage.scope.purge(stage.list_key(), 9).begin(single)
    with pytest.raises(RedisTimeoutError):
        pending.reply()
    stage.client.ping()
    answer: Any = single.ping()
    assert answer is True


def test_a_call_that_could_not_be_sent_keeps_no_connection(own_server: EmbeddedRedis, prefix: str) -> None:
    """Or each would cost the pool one."""
    with own_server.client() as client:
        call = watch(Keys(prefix), "nobody", 1)
        call.run(client)
        own_server.kill()
        for _ in range(3):
            with pytest.raises(RedisConnectionError, match="refused"):
                call.begin(client)
        own_server.restart()
        assert call.begin(client).reply() == []
        pool: Any = client.connection_pool
        assert len(pool._in_use_connections) == 1


def test_what_is_asked_for_later_borrows_the_connection_of_other_calls(server: EmbeddedRedis, prefix: str) -> None:
    """And gives it back to them, not to the pool."""
    with server.client() as client:
        call = watch(Keys(prefix), "nobody", 1)
        for _ in range(3):
            assert call.run(client) == []
            assert call.begin(client).reply() == []
        pool: Any = client.connection_pool
        assert (len(pool._in_use_connections), pool._available_connections) == (1, [])
