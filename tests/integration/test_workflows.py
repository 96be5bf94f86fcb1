"""Workflows, with agents that are played: they do what they are told when they are told to."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from hardening import agent
from hardening.agents import AskFailed
from hardening.core.ledger import read_ledger
from tests.integration.workflow_stage import Stage, steps
from workers import workflow_events as events

if TYPE_CHECKING:
    from celery import Celery

pytestmark = pytest.mark.one_server


def test_steps_are_done_after_those_they_are_after(app: Celery, prefix: str) -> None:
    """They get their arguments and the results of those before; whoever is to be notified is."""
    stage = Stage(app, prefix)
    each: dict[str, Any] = {"args": [1], "kwargs": {"k": 2}}
    stage.start("c<a,b a b d<c", {"notify": stage.name("right")}, **each)
    assert [stage.attempts(step) for step in "abcd"] == [[("left", "given")], [("right", "given")], [], []]
    stage.settle("left", "boss")
    assert stage.attempts("c") == []
    stage.settle()
    found = stage.ask("status", "w")
    stage.settle()
    assert (found["status"], found["done"], found["steps"]["a"]["result"]) == ("completed", 4, [[1], {"k": 2}, {}])
    assert found["steps"]["c"]["result"][2] == {name: found["steps"][name]["result"] for name in "ab"}
    assert sorted(stage.state("left")["done"] + stage.state("right")["done"]) == list("abcd")
    assert stage.state("right")["ended"] == [["w", "completed"]]
    assert [(one["id"], one["status"], one["done"]) for one in stage.ask("list")] == [("w", "completed", 4)]
    assert stage.ask("list", "running") == stage.ask("list", "", 0) == []


@pytest.mark.parametrize("is_committed", [False, True])
def test_whoever_is_killed_at_whichever_message_each_step_is_done_once(
    app: Celery, prefix: str, *, is_committed: bool
) -> None:
    """Before the message is run, or when it was committed and not acknowledged: at every message, one after the other.

    Each of the three has one worker, whose lease runs out; another takes its place.
    """
    stage = Stage(app, prefix)
    stage.start("a b<a c<a d<b,c")
    kills = 0
    while True:
        taken = [(role, message) for role, player in stage.players.items() if (message := player.take())]
        if not taken:
            break
        for role, message in taken:
            if is_committed:
                stage.players[role].run(message)
            stage.die(role)
            kills += 1
            stage.players[role] = stage.play(role, str(kills + 1))
            stage.players[role].handle()
    assert stage.workflow()["status"] == "completed"
    assert kills >= 8
    assert sorted(stage.state("left")["done"] + stage.state("right")["done"]) == list("abcd")
    assert all(len(stage.attempts(step)) == 1 for step in "abcd")
    ledger = read_ledger(stage.players["boss"].client, stage.players["boss"].keys)
    assert ledger.is_balanced
    assert (ledger.queued, ledger.inflight, ledger.letters) == (0, 0, 0)


def test_starting_again_starts_nothing(app: Celery, prefix: str) -> None:
    """With the same id; another workflow needs another."""
    stage = Stage(app, prefix)
    stage.start("a")
    stage.start("a")
    assert stage.attempts("a") == [("left", "given")]
    with pytest.raises(AskFailed, match=r"Refused: there is another workflow with the id w: choose"):
        stage.start("a b")
    other = stage.ask("start", {"steps": steps("a")})
    assert len(other) == 36
    assert stage.ask("status", other)["steps"]["a"]["attempts"][0]["agent"] == stage.name("right")


@pytest.mark.parametrize(
    ("handler", "args", "wrong"),
    [
        ("start", [{"steps": {"a": {"do": "work", "after": ["a"]}}}], "that is no workflow: its steps wait for each"),
        ("start", [{"steps": {"a": {"do": "fly"}}}], "step a: no agent that can fly is registered"),
        ("status", ["v"], "there is no workflow 'v'"),
        ("status", [{}], "there is no workflow"),
        ("pause", ["v"], "there is no workflow 'v'"),
        ("cancel", ["v"], "there is no workflow 'v'"),
        ("register", ["a b", ["x"]], "an agent is named 'a b'"),
        ("register", ["a", ["x y"]], "the capabilities of a: String should match"),
        ("register", ["a", "xy"], "the capabilities of a: Input should be a valid list"),
        ("register", ["a", [str(n) for n in range(101)]], "a has 101 capabilities, expected 100 at most"),
        ("list", ["", "x"], "'x' is no number"),
        ("step_done", ["w", "a", True], "'True' is no number"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_comes_of_it(
    app: Celery, prefix: str, handler: str, args: list[Any], wrong: str
) -> None:
    """Whoever asked is told why. The agent has not failed, and its message is no dead letter."""
    stage = Stage(app, prefix)
    before = stage.state("boss")
    with pytest.raises(AskFailed) as raised:
        stage.ask(handler, *args)
    assert raised.value.error_type == "Refused"
    assert wrong in raised.value.error
    assert stage.state("boss") == before
    boss = stage.players["boss"]
    assert not boss.client.exists(boss.keys.restarts(boss.agent), boss.keys.dlq)


def test_who_is_told_and_not_asked_buries_what_it_refuses(app: Celery, prefix: str) -> None:
    """Somebody has to hear of it; it is no restart."""
    stage = Stage(app, prefix)
    stage.tell("boss", "register", "a b", [])
    stage.tell("left", "perform", {"workflow": 1})
    stage.settle()
    boss = stage.players["boss"]
    assert boss.client.xlen(boss.keys.dlq) == 2
    assert not boss.client.exists(boss.keys.restarts(boss.agent), boss.keys.restarts(stage.name("left")))


def test_a_paused_workflow_gives_out_nothing(app: Celery, prefix: str) -> None:
    """What is given out is done, and counts."""
    stage = Stage(app, prefix)
    stage.start("a b<a")
    assert stage.ask("pause", "w") == "paused"
    stage.settle()
    assert (stage.workflow()["steps"]["a"]["state"], stage.attempts("b")) == ("done", [])
    assert stage.ask("resume", "w") == "running"
    stage.settle()
    assert stage.workflow()["status"] == "completed"
    with pytest.raises(AskFailed, match="workflow w is completed"):
        stage.ask("pause", "w")


def test_cancelling_reaches_everybody_who_was_given_a_step(
    app: Celery, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody has begun is removed; who has begun is told, and what it says then changes nothing."""
    monkeypatch.setattr(type(app.control), "revoke", None)  # what runs is left alone
    stage = Stage(app, prefix)
    stage.start("a b c<a,b d<c")
    left = stage.players["left"].take()
    assert left is not None
    assert stage.players["left"].scope.ack("left-1", [], [f"{left.seq}+"]).run(stage.players["left"].client) is not None
    assert stage.ask("cancel", "w")["status"] == "cancelled"
    assert stage.ask("cancel", "w")["status"] == "cancelled"
    stage.players["left"].run(left)
    stage.players["left"].ack(left)
    stage.settle()
    assert stage.state("left")["done"] == ["a"]
    assert stage.state("left")["cancelled"] == [["a", 1, True]]
    assert "done" not in stage.state("right") or stage.state("right")["done"] == []
    assert stage.state("right")["cancelled"] == [["b", 1, False]]
    assert stage.workflow()["status"] == "cancelled"
    assert {step["state"] for step in stage.workflow()["steps"].values()} == {"cancelled"}
    stage.tick()
    assert read_ledger(stage.players["boss"].client, stage.players["boss"].keys).scheduled == 0


def test_who_is_unregistered_is_given_nothing_more(app: Celery, prefix: str) -> None:
    """What nobody can do any more waits, and is shown to."""
    stage = Stage(app, prefix)
    stage.start("a b<a")
    assert stage.ask("unregister", stage.name("left"))
    assert not stage.ask("unregister", stage.name("left"))
    assert stage.ask("unregister", stage.name("right"))
    stage.settle()
    found = stage.ask("status", "w")
    assert (found["status"], found["waits_for_agents"]) == ("running", ["b"])
    stage.tell("boss", "register", stage.name("right"), ["work"])
    stage.settle()
    assert stage.workflow()["status"] == "completed"


def test_a_step_can_be_done_later(app: Celery, prefix: str) -> None:
    """By another message."""
    stage = Stage(app, prefix, left={"a": "later"})
    stage.start("a")
    stage.settle()
    assert stage.attempts("a") == [("left", "given")]
    stage.tell("left", "go_ahead")
    stage.settle()
    assert stage.workflow()["steps"]["a"]["result"] == "at last"


def test_the_number_of_workflows_is_bounded(app: Celery, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have ended are forgotten, the oldest first, or after a day."""
    monkeypatch.setattr("workers.coordinator_agent._MOST_LIVE", 2)
    monkeypatch.setattr("workers.workflow_runner._MOST_ENDED", 1)
    stage = Stage(app, prefix)
    for name in "uv":
        stage.ask("start", {"id": name, "steps": steps("a")})
    with pytest.raises(AskFailed, match="2 workflows have not ended, which is all"):
        stage.ask("start", {"id": "w", "steps": steps("a")})
    stage.ask("cancel", "u")
    stage.ask("cancel", "v")
    assert [one["id"] for one in stage.ask("list")] == ["v"]
    monkeypatch.setattr("workers.workflow_runner._KEPT_S", -1.0)
    stage.tell("boss", "register", stage.name("left"), ["work"])
    stage.settle("boss")
    assert stage.state("boss")["workflows"] == {}


def test_a_member_says_what_it_can_do(app: Celery, prefix: str) -> None:
    """All its methods that perform something."""
    stage = Stage(app, prefix)
    assert stage.state("boss")["crew"]["members"] == {stage.name(role): ["work"] for role in ("left", "right")}
    assert agent(stage.name("boss"), app=app).name == stage.name("boss")


def test_the_stack_hosts_the_coordinator() -> None:
    """In the module that its app has every worker import."""
    code = (
        "from workers.app import HOSTED, app; import importlib; [importlib.import_module(one) for one in HOSTED];"
        "from hardening.agents.table import hosted; print(*hosted(app))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "coordinator" in ran.stdout.split()


def test_what_nobody_waits_for_changes_nothing(app: Celery, prefix: str) -> None:
    """Of a workflow or step that there is not, or that has ended."""
    stage = Stage(app, prefix)
    stage.start("a")
    stage.tell("boss", "take_away", "w", "a", 1)
    stage.settle("boss")
    assert stage.attempts("a") == [("left", "given")]
    stage.settle()
    before = stage.workflow()
    for workflow, step in (("v", "a"), ("w", "z"), ("w", "a")):
        stage.tell("boss", "step_done", workflow, step, 1, "again")
        stage.tell("boss", "step_failed", workflow, step, 1, "again")
        stage.tell("boss", "take_away", workflow, step, 1)
    stage.settle()
    assert stage.workflow() == before
    with pytest.raises(AskFailed, match="workflow w is completed"):
        stage.ask("cancel", "w")


def test_every_event_has_its_name_and_fields() -> None:
    """As documented."""
    types = [getattr(events, name) for name in events.__all__]
    assert {one.name: [each.name for each in fields(one)] for one in types} == {
        "hardening.workflow.ended": ["workflow", "status", "why", "took_s"],
        "hardening.workflow.reassigned": ["workflow", "step", "agent", "attempt", "why"],
        "hardening.workflow.stalled": ["workflow", "step", "agent", "since_s", "policy"],
    }
