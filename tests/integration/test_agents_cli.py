"""``celery -A app agents``: what operators see and do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery.bin.celery import celery

from hardening import AgentState, agent
from hardening.agents.cli import agents
from hardening.core.scripts import mailing
from tests.integration.agent_cases import hosted_as
from tests.integration.agent_player import Player
from tests.terminal import call_celery

if TYPE_CHECKING:
    from celery import Celery
    from click.testing import Result

    from hardening.agents.ref import AgentRef

pytestmark = pytest.mark.one_server

celery.add_command(agents)  # as the entry point does, also where an older version is installed


def call(app: Celery | None, *args: str) -> Result:
    """Calls ``celery -A app agents ...``."""
    return call_celery(app, "agents", *args)


@pytest.fixture
def name(prefix: str) -> str:
    """Of the test's agent."""
    return f"a.{prefix}"


@pytest.fixture
def ref(app: Celery, name: str) -> AgentRef:
    """The agent, hosted."""

    class State(AgentState):
        """Has a secret."""

        total: int = 0
        api_key: str = "s3cret"

    hosted_as(app, name, State=State)
    return agent(name, app=app)


def test_an_agent_that_is_hosted_is_listed_before_anybody_uses_it(app: Celery, ref: AgentRef) -> None:
    """As unknown to Redis."""
    (line,) = [json.loads(line) for line in call(app, "list", "--json").stdout.splitlines()]
    assert line == {
        "name": ref.name, "status": "unknown", "why": "", "holder": "", "fence": 0, "waiting": 0, "bound": 0,
        "version": 0, "schema": 0, "size": 0, "restarts": 0, "backs_off_s": 0.0, "idle_s": None,
    }  # fmt: skip
    assert "1 agent" in call(app, "list").stdout


def test_an_agent_is_listed_with_who_runs_it_and_what_waits(app: Celery, ref: AgentRef) -> None:
    """In one table."""
    player = Player(app, ref.name, "host:1:aa")
    for n in (1, 2, 3):
        ref.tell("add", n)
    player.handle()
    (line,) = [json.loads(line) for line in call(app, "list", "--json").stdout.splitlines()]
    assert 0 <= line.pop("idle_s") < 60
    assert line == {
        "name": ref.name, "status": "running", "why": "", "holder": "host:1:aa", "fence": 1, "waiting": 2,
        "bound": 10_000, "version": 1, "schema": 1, "size": len('{"total":1,"api_key":"s3cret"}'), "restarts": 0,
        "backs_off_s": 0.0,
    }  # fmt: skip
    table = call(app, "list").stdout
    assert all(word in table for word in (ref.name, "running", "10000", "host:1:aa"))


def test_a_state_is_shown_with_secrets_masked(app: Celery, ref: AgentRef) -> None:
    """As JSON; nothing, as an empty object; what is no state, as a line."""
    assert json.loads(call(app, "state", ref.name).stdout) == {}
    player = Player(app, ref.name)
    ref.tell("add", 1)
    player.handle()
    assert json.loads(call(app, "state", ref.name).stdout) == {"total": 1, "api_key": "***"}
    for broken, said in [("[1]", "is a list, expected a JSON object"), ("{\x1b", "cannot be read")]:
        player.client.hset(player.keys.agent(ref.name), "state", broken)
        result = call(app, "state", ref.name)
        assert (result.exit_code, said in result.output, "\x1b" in result.output) == (1, True, False)


def test_what_waits_is_shown_the_next_first(app: Celery, ref: AgentRef) -> None:
    """Secrets masked, what cannot be read as such; nothing is taken."""
    player = Player(app, ref.name)
    ref.tell("add", 1)
    ref.tell("forward", "other", n=2, password="hush")  # noqa: S106
    player.client.lpush(ref.queue, "\x1b{")
    ref.tell("add", "x" * 100)
    lines = [json.loads(line) for line in call(app, "mailbox", ref.name, "--json").stdout.splitlines()]
    assert [(line["handler"], line["kwargs"]) for line in lines] == [
        ("add", {}), ("forward", {"n": 2, "password": "***"}), ("", {}), ("add", {}),
    ]  # fmt: skip
    assert [bool(line["receipt"]) for line in lines] == [True, True, False, True]
    result = call(app, "mailbox", ref.name, "--limit", "3")
    assert result.exit_code == 0
    assert "4 messages waiting, 3 shown" in result.stdout
    assert '"other", n=2, password="***"' in result.stdout
    assert "(cannot be read)" in result.stdout
    assert player.client.llen(ref.queue) == 4


def test_an_agent_is_halted_and_let_go_on(app: Celery, ref: AgentRef) -> None:
    """Saying whether that is news."""
    player = Player(app, ref.name)
    mailing.found(player.keys, ref.name, 5).run(player.client)
    said = [
        call(app, *verb.split(), ref.name).stdout.strip()
        for verb in ("pause", "pause", "resume", "resume", "stop", "resume")
    ]
    tails = ["paused", "paused, as it was", "idle", "idle, as it was", "stopped", "idle"]
    assert said == [f"{ref.name} is {tail}" for tail in tails]
    found: dict[str, Any] = json.loads(call(app, "stop", ref.name, "--json").stdout)
    assert (found["name"], found["status"]) == (ref.name, "stopped")


def test_an_agent_that_backs_off_is_shown_so(app: Celery, ref: AgentRef) -> None:
    """With how long yet."""
    player = Player(app, ref.name)
    mailing.found(player.keys, ref.name, 5).run(player.client)
    seconds, _ = player.client.time()
    player.client.hset(player.keys.mailbox(ref.queue), "resume_ms", (seconds + 100) * 1000)
    assert "backs off" in " ".join(call(app, "list").stdout.split())


@pytest.mark.parametrize("args", [["state"], ["mailbox"], ["pause"], ["resume"], ["stop"], ["run"]])
def test_an_agent_that_there_is_not_is_said_so(app: Celery, ref: AgentRef, args: list[str]) -> None:
    """With the near name, and its own exit code."""
    result = call(app, *args, f"{ref.name}x\x1b")
    assert result.exit_code == 3
    assert f"did you mean '{ref.name}'?" in result.stderr
    assert "\x1b" not in result.output


def test_a_worker_is_run_for_agents_alone(app: Celery, ref: AgentRef, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of Celery, with their queues."""
    ran: list[list[str]] = []
    monkeypatch.setattr(app, "worker_main", ran.append)
    hosted_as(app, f"{ref.name}.two")
    assert call(app, "run", ref.name, f"{ref.name}.two", "-P", "threads", "-c", "3", "-n", "a@b").exit_code == 0
    assert call(app, "run", ref.name).exit_code == 0
    assert ran == [
        ["worker", "-Q", f"{ref.queue},{ref.queue}.two", "-P", "threads", "-l", "INFO", "-c", "3", "-n", "a@b"],
        ["worker", "-Q", ref.queue, "-P", "prefork", "-l", "INFO"],
    ]


def test_it_needs_an_app_and_a_name(app: Celery) -> None:
    """One clear line."""
    assert call(app, "run").exit_code == 2
    assert "no app was named" in call(None, "list").output
