"""The monitor agent: what it measures, whom it tells, and what it refuses."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as Away

import workers.monitor_agent as module
from hardening import agent, subscribe, supervised_send
from hardening.agents import AskFailed
from hardening.agents.router import EmitFailed
from hardening.core.scripts import mailing
from tests.eventually import eventually
from tests.integration.agent_cases import hosted_as
from tests.integration.agent_player import Player, works
from workers.health import Limit
from workers.monitor_agent import MonitorAgent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from hardening import AgentRef

pytestmark = pytest.mark.one_server


class Post:
    """The agent, whoever runs it, and a queue with those who are told."""

    def __init__(self, app: Celery, prefix: str, every_s: float = 0.05) -> None:
        self.app, self.name, self.told = app, f"monitor.{prefix}", f"told.{prefix}"
        self.cls: Any = MonitorAgent
        self.cls = hosted_as(
            app, self.name, like=MonitorAgent, every_s=every_s,
            limits={"queue_depth": Limit(resolve=1, raise_at=3, for_looks=2)},
        )  # fmt: skip
        self.ref: AgentRef = agent(self.name, app=app)
        self.player = Player(app, self.name)
        mailing.found(self.player.keys, self.name, 100).run(self.player.client)
        subscribe("alert.*", app.signature("shop.told", queue=self.told), durable=True, app=app)
        agent(self.cls.name, app=app).tell("wake")

    def ask(self, handler: str, *args: Any, **kwargs: Any) -> Any:
        """Asks it."""
        return self.ref.ask(handler, *args, timeout=20, **kwargs)

    def heard(self) -> list[tuple[str, Any]]:
        """What subscribers were told, in order."""
        raws = self.player.client.lrange(self.told, 0, -1)[::-1]
        bodies = [json.loads(base64.b64decode(json.loads(raw)["body"]))[0] for raw in raws]
        return [(name, payload["worst"]) for name, payload in bodies]

    def clog(self, queue: str, count: int = 4) -> None:
        """Has messages wait."""
        for _ in range(count):
            supervised_send("shop.mail", queue=queue, app=self.app)

    def unclog(self, queue: str) -> None:
        """Removes them."""
        with self.app.connection_for_write() as connection:
            connection.default_channel.queue_purge(queue)


@pytest.fixture
def post(app: Celery, prefix: str) -> Iterator[Post]:
    """One that looks at how much waits."""
    post = Post(app, prefix)
    with works(post.player):
        yield post


def test_an_alert_is_told_once_when_it_is_raised_and_once_when_it_is_resolved(post: Post, queue: str) -> None:
    """And again when it is raised again; all may be asked for."""
    eventually(lambda: post.ask("status")["status"] == "well")
    post.clog(queue)
    eventually(lambda: post.heard() == [("alert.raised", 4)])
    status = post.ask("status")
    assert (status["status"], status["raised"], status["scores"]) == ("alert", ["queue_depth"], {"queue_depth": 0.25})
    assert {"memory", "disk", "redis_latency_s", "error_rate", "latency_s", "dead_workers"} <= status["readings"].keys()
    (alert,) = post.ask("alerts")
    assert (alert["name"], alert["value"], alert["resolved_s"]) == ("queue_depth", 4, 0)
    post.unclog(queue)
    eventually(lambda: post.heard()[1:] == [("alert.resolved", 4)])
    assert post.ask("alerts") == []
    assert len(post.ask("alerts", past=True)) == 1
    assert post.ask("alerts", past=True, limit=0) == []


def test_silence_holds_back_what_is_raised(post: Post, queue: str) -> None:
    """Until it is over, or ended."""
    post.ask("silence", "queue_depth", 3600)
    post.clog(queue)
    eventually(lambda: post.ask("status")["raised"] == ["queue_depth"])
    assert list(post.ask("status")["silent"]) == ["queue_depth"]
    assert post.heard() == []
    post.ask("silence", "queue_depth", 0)
    eventually(lambda: post.heard() == [("alert.raised", 4)])


@pytest.mark.parametrize(
    ("name", "seconds", "said"),
    [
        ("nothing", 1, "there is no alert 'nothing', known are: queue_depth"),
        ("queue_depth", "1", "seconds is '1', expected 0 to 604800"),
        ("queue_depth", True, "seconds is 'True', expected 0 to 604800"),
        ("queue_depth", -1, "seconds is '-1', expected 0 to 604800"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(post: Post, name: str, seconds: Any, said: str) -> None:
    """With one line."""
    with pytest.raises(AskFailed) as caught:
        post.ask("silence", name, seconds)
    assert caught.value.error == said


def test_it_goes_on_when_redis_was_away(post: Post, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it looked, and while it told: then the next look has it told, once and in order."""
    fails = {"take_readings": 2, "emit_again": 3}

    def failing(name: str, error: Exception) -> None:
        real = getattr(module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if fails[name]:
                fails[name] -= 1
                raise error
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    failing("take_readings", Away("gone"))
    failing("emit_again", EmitFailed("alert.raised", 1, Away("gone"), is_uncertain=True))
    post.clog(queue)
    eventually(lambda: post.heard() == [("alert.raised", 4)])
    assert fails == {"take_readings": 0, "emit_again": 0}


def test_there_is_one_series_of_looks(app: Celery, prefix: str) -> None:
    """Waking it again begins no other, nor does a look of an older one."""
    post = Post(app, prefix, every_s=30.0)
    with works(post.player):
        eventually(lambda: post.ask("status")["looked_s"])
        post.ref.tell("look", 0).wait("acked", timeout=20)
        agent(post.cls.name, app=app).tell("wake").wait("acked", timeout=20)
    assert post.player.state()["series"] == 1
    assert post.player.client.zcard(post.player.keys.scheduled) == 1


def test_without_redis_it_does_not_know_the_time(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes that of its last look."""
    eventually(lambda: post.ask("status")["looked_s"])

    def away(_: Any) -> Any:
        raise Away("gone")

    with monkeypatch.context() as patch:
        patch.setattr("workers.monitor_agent.client_of", away)
        assert post.ask("silence", "queue_depth", 5) > 5
    eventually(lambda: post.ask("status")["status"] == "well")
