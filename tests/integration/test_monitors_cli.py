"""``celery -A app monitors``: tables, JSON, and one line when something is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.bin.celery import celery

from hardening import harden, monitor
from hardening.cli.monitors import monitors
from hardening.core.scripts import monitoring as scripts
from hardening.core.scripts.monitoring import Errand
from hardening.monitors import stats
from hardening.monitors.owner import owner_of
from tests.eventually import eventually
from tests.integration.monitored import Targets
from tests.terminal import call_celery, call_celery_at_terminal

if TYPE_CHECKING:
    from click.testing import Result
    from redis import Redis

    from hardening.core.keys import Keys

pytestmark = pytest.mark.one_server

celery.add_command(monitors)  # the entry point does so where the package is installed


def call(app: Celery | None, *args: str) -> Result:
    """Calls ``celery -A app monitors ...``."""
    return call_celery(app, "monitors", *args)


@pytest.fixture
def targets(app: Celery, client: Redis, keys: Keys) -> Targets:
    """A worker, two monitors of it, and one of them a leak."""
    targets = Targets(client, keys)
    target = targets.join("h:1:aa", node="shop@h")
    monitor(target, "forgotten", leak_after=0.05, app=app)
    monitor(target, "young", app=app)
    eventually(lambda: stats(app=app).leaked == 1)
    return targets


@pytest.mark.usefixtures("targets")
def test_monitors_are_listed(app: Celery) -> None:
    """Oldest first."""
    lines = call(app, "list").stdout.splitlines()
    assert lines[0].split() == ["monitor", "target", "tag", "set", "by", "age", "leak"]
    assert [line.split()[1:4] for line in lines[1:3]] == [
        ["worker:h:1:aa", "forgotten", "process"], ["worker:h:1:aa", "young", "process"],
    ]  # fmt: skip
    assert [line.split()[-1] for line in lines[1:3]] == ["yes", "5m"]
    assert lines[3] == "2 monitors shown"
    assert call(app, "list", "--tag", "y*").stdout.splitlines()[-1] == "1 monitor shown"
    assert call(app, "list", "--limit", "1").stdout.splitlines()[-1] == "1 monitor shown"
    assert call(app, "list", "--target", "queue:*").stdout == "0 monitors shown\n"


@pytest.mark.usefixtures("targets")
def test_leaks_are_shown_with_where_they_come_from(app: Celery) -> None:
    """The innermost frames of their callers."""
    lines = call(app, "leaks").stdout.splitlines()
    assert "forgotten" in lines[1]
    assert any("test_monitors_cli.py:" in line and "in targets" in line for line in lines)
    assert lines[-1] == "1 monitor shown"
    assert call(app, "leaks", "--age", "0").stdout.splitlines()[-1] == "2 monitors shown"
    assert call(app, "leaks", "--age", "-1").exit_code == 2


@pytest.mark.usefixtures("targets")
def test_all_of_it_comes_as_json(app: Celery) -> None:
    """An object a line; of the statistics one."""
    found: list[dict[str, Any]] = [json.loads(line) for line in call(app, "list", "--json").stdout.splitlines()]
    assert [(one["tag"], one["is_leaked"]) for one in found] == [("forgotten", True), ("young", False)]
    assert [json.loads(line)["tag"] for line in call(app, "leaks", "--json").stdout.splitlines()] == ["forgotten"]
    assert json.loads(call(app, "stats", "--json").stdout) == stats(app=app).to_json()
    shown = call(app, "stats").stdout.splitlines()
    assert shown[1].split() == ["alive", "2"]
    assert len(shown) == 10


def test_people_are_shown_fifty_and_programs_all(app: Celery, client: Redis, keys: Keys) -> None:
    """Of each the innermost frames alone, and which task set it; filters go for leaks as well."""
    target = Targets(client, keys).join("h:1:aa")
    about = json.dumps({"tag": "t", "task": "id", "task_name": "shop.charge", "stack": [f"frame{n}" for n in range(8)]})
    errands = [Errand(f"o:1:aa#{number}", target, has_task=False, leak_after_ms=1, about=about) for number in range(55)]
    scripts.monitor(keys, "o:1:aa", 600_000, errands).run(client)
    assert call(app, "list").stdout.splitlines()[-1] == "50 monitors shown"
    assert call(app, "list", "--limit", "52").stdout.splitlines()[-1] == "52 monitors shown"
    assert len(call(app, "list", "--json").stdout.splitlines()) == 55
    assert "shop.charge" in call(app, "list", "--limit", "1").stdout
    leak = call(app, "leaks", "--age", "0", "--limit", "1").stdout
    assert [f"frame{n}" in leak for n in range(4)] == [True, True, True, False]
    assert call(app, "leaks", "--age", "0", "--tag", "other").stdout == "0 monitors shown\n"


def test_durable_monitors_are_shown_as_such(app: Celery, targets: Targets) -> None:
    """With who set them, though that is not their owner; one of nobody's is shown, too."""
    target = targets.join("h:2:bb")
    monitor(target, "till", on_down=app.signature("shop.close"), durable_for=60, app=app)
    (found,) = [json.loads(line) for line in call(app, "list", "--tag", "till", "--json").stdout.splitlines()]
    assert (found["is_durable"], found["owner"]) == (True, owner_of(app).name)
    assert "process, durable" in call(app, "list", "--tag", "till").stdout
    assert f"set by {owner_of(app).name}" in call(app, "leaks", "--age", "0", "--tag", "till").stdout
    errand = Errand("durable:0#1", target, has_task=True, leak_after_ms=1, about='{"tag": "nobody\'s"}')
    scripts.monitor(targets.keys, "durable:0", 600_000, [errand]).run(targets.client)
    assert "durable:0#1, set by a process" in call(app, "leaks", "--age", "0", "--tag", "nobody*").stdout


def test_what_others_wrote_is_safe_to_show(
    app: Celery, client: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 80 columns, whatever it is; a record that cannot be read is shown as what is left of it."""
    targets = Targets(client, keys)
    target = targets.join("h:1:" + "a" * 60)
    evil = json.dumps({"tag": "\x1b[31mred" + "x" * 150, "task": "\x1b]0;", "stack": ["\u202ef" * 40, 3]})
    errands = [
        Errand(f"o:1:aa#{number}", target, has_task=number == 2, leak_after_ms=1, about=about)
        for number, about in enumerate([evil, "no JSON", "[]", '{"on_down": 1, "stack": 7}'])
    ]
    scripts.monitor(keys, "o:1:aa", 600_000, errands).run(client)
    for command in (["list"], ["leaks", "--age", "0"]):
        seen = call_celery_at_terminal(monkeypatch, app, "monitors", *command)
        assert seen.exit_code == 0
        assert not [line for line in seen.lines if "\x1b" in line or "\u202e" in line]
        assert max(map(len, seen.lines)) <= 80 or command[0] == "leaks"
        assert seen.lines[-1] == "4 monitors shown"


def test_what_is_wrong_is_said_in_one_line() -> None:
    """With an exit code."""
    plain = call(Celery("plain", set_as_current=False), "list")
    assert (plain.exit_code, plain.stdout, plain.stderr.count("\n")) == (1, "", 1)
    away = harden(Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False))
    for command in ("list", "leaks", "stats"):
        result = call(away, command)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert result.stderr.startswith("Error: Redis could not be asked")
    assert "Exit codes" in call(away, "--help").stdout
