"""Steps whose agent cannot do them are done by another, once; those that take too long, as their workflow says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening import agent
from hardening.core import telemetry
from hardening.core.errors import CancelFailed
from hardening.core.ledger import read_ledger
from tests.integration.workflow_stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from hardening.core.telemetry import Event

pytestmark = pytest.mark.one_server


@pytest.fixture
def told() -> Iterator[list[Event]]:
    """What is told of workflows."""
    events: list[Event] = []
    handle = telemetry.attach("hardening.workflow", events.append)
    yield events
    telemetry.detach(handle)


def _names(events: list[Event]) -> list[str]:
    return [event.name.rpartition(".")[2] for event in events]


@pytest.mark.parametrize("how", ["gone", "paused", "stopped"])
def test_a_step_that_nobody_has_begun_is_given_to_one_who_can(
    app: Celery, prefix: str, told: list[Event], how: str
) -> None:
    """Whatever became of the first one; its message is removed, so that it does nothing when it is back."""
    stage = Stage(app, prefix)
    stage.start("a")
    left = agent(stage.name("left"), app=app)
    if how == "gone":
        stage.die("left")
    else:
        assert left.pause() if how == "paused" else left.stop()
    stage.tick()
    assert stage.attempts("a") == [("left", "lost"), ("right", "given")]
    first = stage.workflow()["steps"]["a"]["attempts"][0]
    assert (first["why"], first["doubt"]) == (f"agent {left.name} is {how}", "")
    stage.settle("right", "boss")
    assert stage.workflow()["status"] == "completed"
    left.resume()
    stage.players["left"] = stage.play("left", "2")
    stage.settle()
    assert stage.state("left") == {}
    assert stage.state("right")["done"] == ["a"]
    assert _names(told) == ["reassigned", "ended"]


def test_who_died_after_it_was_done_has_done_it(app: Celery, prefix: str) -> None:
    """It had committed, was not acknowledged, and what it said stands in the mailbox when its message is removed."""
    stage = Stage(app, prefix)
    stage.start("a")
    taken = stage.players["left"].take()
    assert taken is not None
    stage.players["left"].run(taken)
    stage.die("left")
    stage.tick()
    assert stage.attempts("a") == [("left", "done")]
    assert stage.workflow()["status"] == "completed"
    stage.settle()
    assert stage.state("right") == {}


def test_what_a_dead_worker_still_holds_is_waited_for(app: Celery, prefix: str) -> None:
    """Until it was recovered, nobody knows whether it was begun."""
    stage = Stage(app, prefix)
    stage.start("a")
    left = stage.players["left"]
    assert left.take() is not None
    left.client.zadd(left.keys.leases, {left.consumer: 1})
    stage.tick()
    assert stage.attempts("a") == [("left", "given")]
    stage.die("left")
    stage.tick()
    assert stage.attempts("a") == [("left", "lost"), ("right", "given")]


def test_a_step_stays_where_it_is_when_nobody_else_can_do_it(app: Celery, prefix: str) -> None:
    """As in a restart of everything: whoever comes back does it."""
    stage = Stage(app, prefix)
    stage.start("a")
    stage.die("left")
    stage.die("right")
    stage.tick()
    stage.tick()
    assert stage.attempts("a") == [("left", "given")]
    stage.players["left"] = stage.play("left", "2")
    stage.settle("left", "boss")
    assert stage.workflow()["status"] == "completed"


def test_who_fails_is_followed_by_another_and_has_done_nothing(app: Celery, prefix: str) -> None:
    """What it did to its state, and said, before it failed is not committed."""
    stage = Stage(app, prefix, left={"a": "fail"})
    stage.start("a")
    stage.settle()
    assert stage.attempts("a") == [("left", "failed"), ("right", "done")]
    assert stage.workflow()["steps"]["a"]["attempts"][0]["why"] == "no luck"
    assert stage.state("left")["done"] == []
    assert read_ledger(stage.players["left"].client, stage.players["left"].keys).letters == 0


def test_whose_message_died_is_followed_by_another(app: Celery, prefix: str) -> None:
    """It raised what it should not: a dead letter, and a restart."""
    stage = Stage(app, prefix, left={"a": "raise"})
    stage.start("a")
    stage.settle()
    assert stage.attempts("a") == [("left", "given")]
    stage.tick()
    assert stage.attempts("a") == [("left", "lost"), ("right", "given")]
    assert "died (failed), see celery dlq" in stage.workflow()["steps"]["a"]["attempts"][0]["why"]
    stage.settle()
    assert stage.workflow()["status"] == "completed"


def test_a_workflow_fails_when_a_step_has_failed_too_often(app: Celery, prefix: str, told: list[Event]) -> None:
    """It is given to each, then to the first again; what others were given is taken back."""
    stage = Stage(app, prefix, left={"b": "fail"}, right={"b": "fail"})
    stage.start("b a", {"notify": stage.name("left")}, max_attempts=3)
    held = stage.players["right"].take()
    assert held is not None
    stage.settle("left", "boss")
    stage.players["right"].run(held)
    stage.players["right"].ack(held)
    stage.settle()
    found = stage.workflow()
    assert (found["status"], found["why"]) == ("failed", "step b failed after 3 attempts: no luck")
    assert [state for _, state in stage.attempts("b")] == ["failed"] * 3
    assert stage.state("left")["ended"] == [["w", "failed"]]
    assert _names(told) == ["reassigned", "reassigned", "ended"]


def test_a_result_that_is_too_large_is_a_failure(app: Celery, prefix: str) -> None:
    """Also one that an agent sends that does not look at it."""
    stage = Stage(app, prefix, left={"a": "large"})
    stage.start("a", max_attempts=2)
    stage.settle("left", "boss")
    assert "is 5002 characters, expected 4096" in stage.workflow()["steps"]["a"]["attempts"][0]["why"]
    stage.tell("boss", "step_done", "w", "a", 2, "x" * 5000)
    stage.settle("boss")
    assert "larger than 4096" in stage.workflow()["why"]


def test_who_cannot_do_what_it_registered_for_says_so(app: Celery, prefix: str) -> None:
    """At once."""
    stage = Stage(app, prefix)
    stage.tell("boss", "register", stage.name("left"), ["fly"])
    stage.settle("boss")
    assert stage.ask("start", {"id": "w", "steps": {"a": {"do": "fly", "max_attempts": 1}}}) == "w"
    stage.settle()
    assert stage.workflow()["why"].endswith(f"{stage.name('left')} cannot fly")


def test_what_takes_too_long_is_given_to_another_as_well(app: Celery, prefix: str, told: list[Event]) -> None:
    """Who is first counts; the other one is told that nobody waits for it."""
    stage = Stage(app, prefix, left={"a": "later"})
    stage.start("a", stall_after_s=0.001)
    stage.settle("left")
    stage.tick()
    assert stage.attempts("a") == [("left", "stalled"), ("right", "given")]
    stage.tell("left", "go_ahead")
    stage.settle("left", "boss", "right")
    assert stage.attempts("a") == [("left", "done"), ("right", "cancelled")]
    assert stage.workflow()["status"] == "completed"
    assert stage.state("right")["cancelled"] == [["a", 2, False]]
    assert stage.state("right")["done"] == []
    assert _names(told) == ["stalled", "reassigned", "ended"]


def test_what_waits_too_long_for_a_busy_agent_is_taken_from_it(app: Celery, prefix: str) -> None:
    """Then it is not done twice."""
    stage = Stage(app, prefix)
    stage.start("a", stall_after_s=0.001)
    stage.tick()
    assert stage.attempts("a") == [("left", "lost"), ("right", "given")]
    stage.settle("left")
    assert stage.state("left") == {}


@pytest.mark.parametrize("policy", ["fail", "report"])
def test_what_takes_too_long_fails_its_workflow_or_is_only_told_of(
    app: Celery, prefix: str, told: list[Event], policy: str
) -> None:
    """As the step says; it is told of once."""
    stage = Stage(app, prefix, left={"a": "later"})
    stage.start("a", stall_after_s=0.001, when_stalled=policy)
    stage.settle("left")
    stage.tick()
    stage.tick()
    assert _names(told) == (["stalled", "ended"] if policy == "fail" else ["stalled"])
    assert stage.workflow()["status"] == ("failed" if policy == "fail" else "running")
    stage.settle()
    assert stage.state("left")["cancelled"] == ([["a", 1, True]] if policy == "fail" else [])


def test_who_alone_can_do_it_may_take_its_time(app: Celery, prefix: str, told: list[Event]) -> None:
    """Unless it was the last attempt: then the workflow fails."""
    stage = Stage(app, prefix)
    stage.ask("unregister", stage.name("right"))
    stage.start("a", stall_after_s=0.001)
    stage.tick()
    assert stage.attempts("a") == [("left", "given")]
    stage.ask("cancel", "w")
    last: dict[str, Any] = {"do": "work", "stall_after_s": 0.001, "max_attempts": 1}
    stage.ask("start", {"id": "v", "steps": {"a": last}})
    stage.tick()
    assert stage.ask("status", "v")["why"] == "step a lost after 1 attempts: not done within 0.001 s"
    assert _names(told).count("stalled") == 2


def test_a_workflow_whose_time_is_over_fails(app: Celery, prefix: str) -> None:
    """Also one that waits for agents that there are not any more, or that is paused."""
    stage = Stage(app, prefix)
    stage.start("a b<a", {"timeout_s": 0.001})
    stage.ask("pause", "w")
    stage.tick()
    assert stage.workflow()["why"] == "it was not done within 0.001 s"
    stage.settle()
    assert stage.state("left")["done"] == []


def test_there_are_ticks_as_long_as_there_are_workflows(
    app: Celery, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time; one that was lost, with its message, is missed by whatever comes next."""
    stage = Stage(app, prefix)
    boss = stage.players["boss"]
    assert not boss.client.exists(boss.keys.scheduled)
    stage.start("a b")
    stage.ask("status", "w")
    assert boss.client.zcard(boss.keys.scheduled) == 1
    stage.tick()
    assert boss.client.zcard(boss.keys.scheduled) == 1
    series = stage.state("boss")["series"]
    stage.tell("boss", "tick", series - 1)
    stage.settle("boss")
    assert stage.state("boss")["series"] == series
    with monkeypatch.context() as patch:
        patch.setattr("workers.workflow_runner._MISSED", -1)
        stage.tell("boss", "status", "w")
        stage.settle("boss")
    assert stage.state("boss")["series"] == series + 1
    stage.settle()
    stage.tick()
    assert boss.client.zcard(boss.keys.scheduled) == 0


def test_while_redis_does_not_say_how_things_are_nothing_is_given_out(
    app: Celery, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said is committed all the same; the next tick goes on."""
    stage = Stage(app, prefix)

    def fail(*_: Any) -> None:
        raise RedisConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr("workers.workflow_runner.take_census", fail)
        stage.start("a")
        assert stage.attempts("a") == []
        assert stage.workflow()["since_s"] == 0
    stage.tick()
    assert stage.attempts("a") == [("left", "given")]
    assert stage.workflow()["since_s"] > 0


def test_a_second_failure_of_a_step_that_another_has_is_noted(app: Celery, prefix: str) -> None:
    """It stalled, was given to another, and has failed now: the other has it still."""
    stage = Stage(app, prefix, left={"a": "later"})
    stage.start("a", stall_after_s=0.001)
    stage.settle("left")
    stage.tick()
    stage.tell("boss", "step_failed", "w", "a", 1, "late, and bad")
    stage.settle("boss")
    assert stage.attempts("a") == [("left", "failed"), ("right", "given")]


def test_a_message_that_cannot_be_cancelled_stays(app: Celery, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For nobody knows: the next tick tries again."""
    stage = Stage(app, prefix)
    stage.start("a")
    stage.die("left")

    def fail(receipt: Any, **_: Any) -> None:
        raise CancelFailed(receipt.id, RedisConnectionError("away"))

    with monkeypatch.context() as patch:
        patch.setattr("workers.oversight.Receipt.cancel", fail)
        stage.tick()
        assert stage.attempts("a") == [("left", "given")]
    stage.tick()
    assert stage.attempts("a") == [("left", "lost"), ("right", "given")]


def test_what_is_being_taken_away_is_taken_away_once(app: Celery, prefix: str) -> None:
    """Though there is another tick before it is done."""
    stage = Stage(app, prefix)
    stage.start("a")
    stage.die("left")
    boss = stage.players["boss"]
    for one in boss.client.zrange(boss.keys.scheduled, 0, -1):
        boss.client.zadd(boss.keys.scheduled, {one: 1})
    boss.handle()
    assert stage.workflow()["steps"]["a"]["attempts"][0]["doubt"] == f"agent {stage.name('left')} is gone"
    for one in boss.client.zrange(boss.keys.scheduled, 0, -1):
        boss.client.zadd(boss.keys.scheduled, {one: 1})
    boss.handle()
    assert boss.client.llen(f"agent.{boss.agent}") == 1
    stage.settle("boss")
    assert stage.attempts("a") == [("left", "lost"), ("right", "given")]


def test_who_is_not_registered_any_more_is_looked_after_all_the_same(app: Celery, prefix: str) -> None:
    """As long as it has a step."""
    stage = Stage(app, prefix)
    stage.start("a")
    stage.ask("unregister", stage.name("left"))
    stage.die("left")
    stage.tick()
    assert stage.attempts("a") == [("left", "lost"), ("right", "given")]
