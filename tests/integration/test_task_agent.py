"""The task agent: what it sends, what it hears of that, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as Away

from hardening import agent
from hardening.agents import AskFailed
from hardening.core import payload as payloads
from hardening.core.deployment import client_of
from hardening.core.scripts import Death, Scope, Taken, calls, mailing
from tests.eventually import eventually
from tests.integration.agent_cases import hosted_as
from tests.integration.agent_player import Player, works
from workers.messages import look_at
from workers.task_agent import TaskAgent
from workers.work_queue import PauseRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from hardening.core.scripts import TakenMessage

pytestmark = pytest.mark.one_server


class Desk:
    """The agent, whoever runs it, and a worker who does what is sent."""

    def __init__(self, app: Celery, prefix: str, queue: str, **attributes: Any) -> None:
        self.app, self.queue = app, queue
        self.name = f"task.{prefix}"
        said = {"bound": 3, "concurrency": 2, "tick_s": 0.05, "urgent_s": 0.02, **attributes}
        self.cls: Any = hosted_as(app, self.name, like=TaskAgent, **said)
        self.ref = agent(self.name, app=app)
        self.player = Player(app, self.name)
        mailing.found(self.player.keys, self.name, self.cls.mailbox.bound).run(self.player.client)
        self.scope = Scope(self.player.keys, 60_000, "doer")
        calls.renew(self.player.keys, "doer", 60_000, join=True, about="{}").run(self.player.client)
        self.client: Any = client_of(app)

    def ask(self, handler: str, *args: Any, **kwargs: Any) -> Any:
        """Asks it."""
        return self.ref.ask(handler, *args, timeout=20, **kwargs)

    def refusal(self, handler: str, *args: Any, **kwargs: Any) -> str:
        """Why it will not."""
        with pytest.raises(AskFailed) as caught:
            self.ask(handler, *args, **kwargs)
        assert caught.value.error_type == "Refused"
        return caught.value.error

    def state(self, id_: str) -> str:
        """How an item is."""
        found: str = self.ask("status", id_)["state"]
        return found

    def take(self) -> list[TakenMessage]:
        """What is sent and not taken."""
        taken = Taken.parse(self.scope.take("doer", [self.queue], 10).run(self.client), [self.queue])
        return [one for one in taken.messages if one.raw]

    def do(self, death: str = "") -> int:
        """Does what is sent, or has it die; returns how much that was."""
        taken = self.take()
        for one in taken:
            if death:
                self.scope.bury("doer", one.seq, Death(death, "said so")).run(self.client)
            else:
                self.scope.ack("doer", [f"{one.seq}+"]).run(self.client)
        return len(taken)


@pytest.fixture
def desk(app: Celery, prefix: str, queue: str) -> Iterator[Desk]:
    """One with three places of which two are worked on at a time."""
    desk = Desk(app, prefix, queue)
    with works(desk.player):
        yield desk


def test_work_is_sent_by_priority_and_its_end_is_heard_of(desk: Desk) -> None:
    """Two at a time; the rest waits, up to the bound, and may be seen."""
    ids = [desk.ask("submit", "shop.mail", [n], {"to": "x"}, id=f"m{n}", priority=n) for n in (5, 1, 0, 9, 2)]
    assert ids == ["m5", "m1", "m0", "m9", "m2"]
    assert [(one["id"], one["state"]) for one in desk.ask("list")] == [
        ("m5", "running"), ("m1", "running"), ("m9", "waiting"), ("m2", "waiting"), ("m0", "waiting"),
    ]  # fmt: skip
    full = "the queue is full: 3 items wait, which is all: submit it later"
    assert desk.refusal("submit", "shop.mail", priority=9) == full
    assert desk.do() == 2
    eventually(lambda: desk.state("m2") == "running")
    assert [one["id"] for one in desk.ask("list", "running", 1)] == ["m9"]
    assert desk.do() == 2
    eventually(lambda: desk.state("m0") == "running")
    assert desk.do() == 1
    eventually(lambda: len(desk.ask("list", "done")) == 5)
    status = desk.ask("status")
    assert {name: status[name] for name in ("paused", "waiting", "running", "ended", "submitted")} == {
        "paused": "", "waiting": 0, "running": 0, "ended": 5, "submitted": 5
    }  # fmt: skip
    assert desk.ask("submit", "shop.mail", [5], {"to": "x"}, id="m5", priority=5) == "m5"
    assert desk.take() == []


def test_errors_pause_it_until_somebody_goes_on(desk: Desk) -> None:
    """It says why. What failed may be submitted again, and counts as another attempt."""
    desk.cls.pause_rule = PauseRule(errors=2, within_s=60)
    for number in range(4):
        desk.ask("submit", "shop.mail", id=f"m{number}")
    assert desk.do("failed") == 2
    eventually(lambda: desk.ask("status")["paused"])
    why = "2 errors within 60 s, the last of shop.mail: its message is dead (failed), see celery dlq"
    assert desk.ask("status")["paused"] == why
    assert desk.take() == []
    assert desk.ask("resume")
    assert not desk.ask("resume")
    assert desk.do() == 2
    eventually(lambda: desk.state("m3") == "done")
    desk.ask("submit", "shop.mail", id="m0")
    assert (desk.state("m0"), desk.ask("status", "m0")["attempt"]) == ("running", 2)
    desk.ask("pause", "lunch")
    desk.ask("submit", "shop.mail", id="m9")
    assert (desk.ask("status")["paused"], desk.state("m9")) == ("lunch", "waiting")


def test_what_nobody_has_begun_can_be_cancelled(desk: Desk) -> None:
    """Whether it waits or was sent; what runs is left alone, and ends as it ends."""
    for number in range(3):
        desk.ask("submit", "shop.mail", id=f"m{number}")
    assert desk.ask("cancel", "m2")["state"] == "cancelled"
    assert desk.ask("cancel", "m0")["state"] == "cancelled"
    (taken,) = desk.take()
    desk.scope.ack("doer", [], [f"{taken.seq}+"]).run(desk.client)
    shown = desk.ask("cancel", "m1")
    assert (shown["state"], shown["is_unwanted"]) == ("running", True)
    desk.scope.bury("doer", taken.seq, Death("timeout", "")).run(desk.client)
    eventually(lambda: desk.state("m1") == "cancelled")
    assert desk.ask("status")["errors"] == 0
    assert desk.refusal("cancel", "nothing") == "there is no item 'nothing', or it ended long ago"


def test_what_takes_too_long_is_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody begins is taken back; what runs for longer than any pool lets it is given up."""
    monkeypatch.setattr("workers.task_agent._GRACE_S", 0.1)
    desk.ask("submit", "shop.mail", id="slow", timeout_s=0.3)
    (taken,) = desk.take()
    desk.scope.ack("doer", [], [f"{taken.seq}+"]).run(desk.client)
    desk.ask("submit", "shop.mail", id="late", timeout_s=0.2)
    eventually(lambda: desk.state("late") == "timed_out")
    assert desk.ask("status", "late")["why"] == "nobody had begun it after 0.2 s"
    assert desk.take() == []
    eventually(lambda: desk.state("slow") == "timed_out")
    assert desk.ask("status", "slow")["why"].startswith("it was started after 0.")
    desk.ask("submit", "shop.mail", id="killed", timeout_s=30)
    assert desk.do("timeout") == 1
    eventually(lambda: desk.state("killed") == "timed_out")
    desk.ask("submit", "shop.mail", id="gone", timeout_s=30)
    desk.client.delete(desk.player.keys.delivery(desk.ask("status", "gone")["receipt"]))
    assert desk.ask("status", "gone")["why"] == "its receipt is gone, so nobody knows"
    assert desk.ask("status")["errors"] == 4


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"id": "a b"}, "id: String should match pattern"),
        ({"priority": 10}, "priority: Input should be less than or equal to 9"),
        ({"priority": "1"}, "priority: Input should be a valid integer"),
        ({"timeout_s": 0}, "timeout_s: Input should be greater than 0"),
        ({"args": "text"}, "args: Input should be a valid list"),
        ({"args": ["x" * 2048]}, "the arguments are 2058 characters of JSON, expected at most 2048"),
    ],
)
def test_what_makes_no_sense_is_refused(desk: Desk, kwargs: dict[str, Any], said: str) -> None:
    """With one line; the agent goes on, and no restart is counted."""
    assert said in desk.refusal("submit", "shop.mail", **kwargs)
    assert desk.ref.status().restarts == 0


def test_agents_and_other_items_are_refused(desk: Desk) -> None:
    """A message of an agent is none of its business; an id names one item."""
    assert desk.refusal("submit", "hardening.agent") == "hardening.agent is no task to be submitted: tell the agent"
    desk.ask("submit", "shop.mail", [1], id="m")
    assert desk.ask("submit", "shop.mail", [1], id="m") == "m"
    assert desk.refusal("submit", "shop.mail", [2], id="m").startswith("there is another item with the id m")
    assert desk.do() == 1


def test_room_is_made_for_what_is_more_urgent(app: Celery, prefix: str, queue: str) -> None:
    """Where that is wanted; what is dropped says so."""
    desk = Desk(app, prefix, queue, when_full="drop_lowest", bound=1, concurrency=1)
    with works(desk.player):
        for id_, priority in (("running", 5), ("low", 3), ("high", 4)):
            desk.ask("submit", "shop.mail", id=id_, priority=priority)
        assert (desk.state("low"), desk.state("high")) == ("dropped", "waiting")
        assert "the queue is full" in desk.refusal("submit", "shop.mail", priority=4)


def test_what_cannot_be_sent_fails(desk: Desk) -> None:
    """With the reason; the agent goes on."""
    desk.app.conf.task_routes = {"shop.nowhere": {"exchange": f"x.{desk.name}", "exchange_type": "fanout"}}
    desk.app.amqp.flush_routes()
    desk.ask("submit", "shop.nowhere", id="m")
    assert desk.state("m") == "failed"
    assert desk.ask("status", "m")["why"].startswith("it cannot be sent: ")
    assert desk.ask("status")["errors"] == 1


def test_there_is_one_series_of_ticks_and_the_pool_knows_the_timeout(app: Celery, prefix: str, queue: str) -> None:
    """A tick of an older series has no successor."""
    desk = Desk(app, prefix, queue, tick_s=30.0, urgent_s=30.0)
    with works(desk.player):
        desk.ask("submit", "shop.mail", timeout_s=7)
        for series in (0, -1):
            desk.ref.tell("tick", series).wait("acked", timeout=20)
    assert desk.client.zcard(desk.player.keys.scheduled) == 1
    (taken,) = desk.take()
    assert payloads.load(taken.raw)["headers"]["timelimit"] == [7, None]


def test_it_goes_on_when_redis_was_away_for_a_look(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known then, so nothing is decided of what runs; the next look tells. One that is woken goes on."""
    looks = []

    def away(*args: Any) -> Any:
        looks.append(args)
        if len(looks) < 4:
            raise Away("gone")
        return real(*args)

    real = look_at
    desk.ask("submit", "shop.mail", id="m")
    assert desk.do() == 1
    monkeypatch.setattr("workers.task_agent.look_at", away)
    eventually(lambda: len(looks) >= 4)
    eventually(lambda: desk.state("m") == "done")
    agent(desk.cls.name, app=desk.app).tell("wake").wait("acked", timeout=20)
