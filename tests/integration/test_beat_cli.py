"""``celery -A APP schedules``, as operators use it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery.bin.celery import celery

from beat_schedules.cli import schedules as group
from hardening.cli.commands import hardening
from tests.integration.scheduling import Scheduling
from tests.terminal import call_celery

if TYPE_CHECKING:
    from celery import Celery
    from click.testing import Result

pytestmark = pytest.mark.one_server

#: As the installed entry point does.
celery.add_command(group)


@pytest.fixture
def scheduling(app: Celery) -> Scheduling:
    """An entry of the code's, and one that cannot be."""
    scheduling = Scheduling(app)
    scheduling.declare(coded={"task": "shop.report", "schedule": 3600.0}, bad={"task": "t", "schedule": "never"})
    scheduling.led()
    return scheduling


def call(scheduling: Scheduling, *args: str, code: int = 0) -> Result:
    """Calls it, with an exit code, and never with a traceback."""
    result = call_celery(scheduling.app, "schedules", *args)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def test_schedules_are_listed(scheduling: Scheduling) -> None:
    """In a table with what is wrong below it, or as JSON."""
    text = call(scheduling, "list").stdout
    assert [line.split()[:2] for line in text.splitlines()[1:3]] == [["bad", "quarantined"], ["coded", "active"]]
    assert "bad: " in text.splitlines()[-1]
    found = [json.loads(line) for line in call(scheduling, "list", "--json").stdout.splitlines()]
    assert [one["name"] for one in found] == ["bad", "coded"]
    assert found[1]["definition"]["schedule"] == {"every": 3600.0}
    assert call(scheduling, "list", "--state", "paused").stdout == "0 schedules\n"


def test_a_schedule_lives_on_the_command_line(scheduling: Scheduling) -> None:
    """Added, shown, held, run, changed, removed."""
    told = call(scheduling, "add", "mine", "--task", "shop.tick", "--every", "59", "--args", "[1]", "--queue", "q.x",
                "--catch-up", "all", "--overlap", "skip", "--grace", "5").stdout  # fmt: skip
    assert told.startswith("mine: every 59 s, next slot in 5")  # all of it, if asked within the same millisecond
    definition = scheduling.schedules.get("mine").definition
    assert definition is not None
    assert (definition.args, definition.options, definition.grace_s) == ([1], {"queue": "q.x"}, 5.0)
    assert call(scheduling, "pause", "mine").stdout == "paused mine\n"
    assert call(scheduling, "pause", "mine").stdout == "paused already: mine\n"
    assert "but it is paused" in call(scheduling, "update", "mine", "--kwargs", '{"a": 1}').stdout
    assert "next slot in" in call(scheduling, "resume", "mine").stdout
    assert call(scheduling, "resume", "mine").stdout == "not paused: mine\n"
    assert call(scheduling, "history", "mine").stdout == "0 slots\n"
    assert call(scheduling, "run-now", "mine").stdout.startswith("sent mine, task ")
    assert "run_now" in call(scheduling, "history", "mine").stdout
    (past,) = [json.loads(line) for line in call(scheduling, "history", "mine", "--json").stdout.splitlines()]
    assert past["what"] == "run_now"
    call(scheduling, "update", "mine", "--cron", "0 2 * * *", "--timezone", "Europe/Berlin")
    assert call(scheduling, "remove", "mine").stdout == "removed mine\n"
    call(scheduling, "add", "sun", "--task", "t", "--solar", "sunset,52.5,13.4")
    call(scheduling, "add", "then", "--task", "t", "--at", "2099-01-01T00:00:00Z")
    assert call(scheduling, "add", "cron", "--task", "t", "--cron", "0 2 * * *").stdout.startswith("cron: 0 2 * * * (")


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["add", "x"], 2, "say what and when"),
        (["add", "x", "--task", "t", "--every", "5", "--cron", "* * * * *"], 2, "contradict each other"),
        (["add", "x", "--task", "t", "--every", "5", "--timezone", "UTC"], 2, "--timezone needs --cron"),
        (["add", "x", "--task", "t", "--every", "5", "--args", "[1"], 2, "--args is not JSON"),
        (["add", "x", "--task", "t", "--every", "5", "--args", "{}"], 2, "expected a list"),
        (["add", "x", "--task", "t", "--solar", "sunset"], 2, "expected EVENT,LAT,LON"),
        (["add", "x", "--task", "t", "--cron", "nope"], 1, "expected 5 fields"),
        (["add", "x", "--task", "t", "--at", "tomorrow"], 1, "refused: schedule.at: "),
        (["add", "coded", "--task", "t", "--every", "5"], 1, "there is a schedule 'coded' already"),
        (["update", "coded", "--every", "5"], 1, "is declared by code or a file"),
        (["update", "coded"], 2, "say what is to change"),
        (["run-now", "bad"], 1, "schedule 'bad' is refused"),
        (["remove", "nobody"], 3, "no schedule 'nobody'"),
        (["history", "nobody"], 3, "no schedule 'nobody'"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(scheduling: Scheduling, args: list[str], code: int, told: str) -> None:
    """With an exit code that says what kind it is."""
    assert told in call(scheduling, *args, code=code).output


def test_health_is_what_ticks_say(scheduling: Scheduling) -> None:
    """A leader with a fresh tick, or any beat on a host; otherwise the exit code is 1."""
    leading = call(scheduling, "health").stdout
    assert "leads, ticked" in leading
    assert leading.endswith("healthy\n")
    found = json.loads(call(scheduling, "health", "--json").stdout)
    host = found["beats"][0]["host"]
    call(scheduling, "health", "--host", host)
    call(scheduling, "health", "--host", "elsewhere", code=1)
    name = found["beats"][0]["name"]
    scheduling.client.zincrby(scheduling.keys.beat_ticks, -160_000, name)
    assert "which is too long" in call(scheduling, "health", code=1).stdout
    scheduling.client.zincrby(scheduling.keys.beat_ticks, 160_000, name)
    scheduling.client.delete(scheduling.keys.beat_leader)
    assert "stands by" in call(scheduling, "health", "--host", host).stdout
    assert "stands by" in call(scheduling, "health", "--here").stdout
    assert "no beat leads" in call(scheduling, "health", code=1).stdout


def test_beat_is_a_command_of_ours() -> None:
    """With our scheduler, unless another is named; Celery's own keeps its own."""
    ours: Any = hardening.commands["beat"]
    theirs: Any = celery.commands["beat"]
    default = {param.name: param.default for param in ours.params}["scheduler"]
    assert default == "beat_schedules.scheduler:HardenedScheduler"
    assert {param.name: param.default for param in theirs.params}["scheduler"] != default


def test_the_wheel_names_the_commands_and_the_scheduler() -> None:
    """So that ``celery`` finds them."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"]
    assert project["celery.commands"]["schedules"] == "beat_schedules.cli:schedules"
    assert project["celery.beat_schedulers"] == {"hardening": "beat_schedules.scheduler:HardenedScheduler"}
