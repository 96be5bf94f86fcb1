"""Scripts and Redis's cache of them: known by their SHA, sent anew when it was emptied."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError

from hardening.core.embedded import EmbeddedRedis
from hardening.core.scripts import Call, Script
from tests.conftest import SERVERS
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from redis import Redis

NAMES = sorted(
    path.name.removesuffix(".lua")
    for path in resources.files("hardening.core.scripts").iterdir()
    if path.name.endswith(".lua")
)


@pytest.mark.parametrize("name", NAMES)
def test_every_script_compiles_and_has_the_sha_that_redis_gives_it(client: Redis, name: str) -> None:
    """On every Redis there is."""
    script = Script.load(name)
    assert client.script_load(script.source) == script.sha


def test_a_script_is_sent_whole_when_redis_does_not_know_it(stage: Stage) -> None:
    """After a restart or a SCRIPT FLUSH, once; nothing is lost or done twice."""
    stage.join("w")
    for step, name in enumerate("abc"):
        stage.client.script_flush()
        stage.publish(name)
        stage.client.script_flush()
        stage.take("w")
        stage.client.script_flush()
        stage.begin("w", name)
        assert stage.ledger().counters["published"] == step + 1
    stage.client.script_flush()
    assert stage.ack("w", "a") == 1
    stage.client.script_flush()
    assert stage.bury("w", "b") == 1
    stage.client.script_flush()
    stage.expire("w")
    stage.recover()
    assert stage.state() == State(queued={"q": ["c"]}, buried=[("b", "failed")], crashes={"c": 1}, rung={"q"})


def test_the_short_command_fails_and_the_full_one_caches(stage: Stage) -> None:
    """As a pipeline sees it, which must decide by itself."""
    call = stage.scope.purge(stage.list_key(), 1)
    stage.client.script_flush()
    with pytest.raises(NoScriptError):
        stage.client.execute_command(*call.command)
    assert stage.client.execute_command(*call.full_command) == 0
    assert stage.client.execute_command(*call.command) == 0


def test_an_error_inside_a_script_is_the_callers(stage: Stage) -> None:
    """It is not taken for a script that is not cached."""
    stage.client.set(stage.list_key(), "not a list")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        stage.run(stage.scope.purge(stage.list_key(), 1))


def test_a_script_is_read_once(stage: Stage) -> None:
    """It is loaded for the life of the process."""
    assert Script.load("take") is Script.load("take")
    assert isinstance(stage.scope.take("w", [], 1), Call)


@pytest.mark.parametrize(
    ("refuse", "expected"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), OutOfMemoryError),
        (("REPLICAOF", "127.0.0.1", "1"), ReadOnlyError),
        (("CONFIG", "SET", "min-replicas-to-write", "1"), ResponseError),
    ],
)
@pytest.mark.parametrize("executable", [*SERVERS.values()], ids=[*SERVERS])
def test_a_refusal_has_its_own_type_on_every_redis(
    executable: str, prefix: str, refuse: tuple[str, ...], expected: type[ResponseError]
) -> None:
    """Redis 6.2 wraps it; senders tell by it whether to try again."""
    with EmbeddedRedis(server=executable) as server, server.client() as client:
        stage = Stage(client, prefix)
        client.execute_command(*refuse)
        with pytest.raises(ResponseError) as raised:
            stage.publish("a")
    assert type(raised.value) is expected
