"""``celery -A app breakers``: what operators see and do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, signals
from celery.bin.celery import celery

from hardening import Breaker
from hardening.cli.breakers import breakers
from hardening.core.breaker_rules import BreakerRule
from hardening.core.deployment import set_settings, settings_of
from tests.eventually import eventually
from tests.terminal import call_celery

if TYPE_CHECKING:
    from click.testing import Result
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys

pytestmark = pytest.mark.one_server

celery.add_command(breakers)  # as the entry point does, also where an older version is installed


def call(app: Celery | None, *args: str) -> Result:
    """Calls ``celery -A app breakers ...``."""
    return call_celery(app, "breakers", *args)


@pytest.fixture
def name(app: Celery, prefix: str) -> str:
    """A breaker that the app's setting declares, with a window that outlives the test."""
    name = f"b.{prefix}"
    settings = settings_of(app).model_copy(update={"breakers": {name: BreakerRule(window_s=60, minimum_calls=3)}})
    set_settings(app, settings)
    return name


def standing(app: Celery, name: str) -> dict[str, Any]:
    """What ``list --json`` says of one."""
    result = call(app, "list", "--json")
    assert result.exit_code == 0, result.output
    return next(one for one in map(json.loads, result.stdout.splitlines()) if one["name"] == name)


def test_a_declared_breaker_is_listed_before_it_is_used(app: Celery, name: str) -> None:
    """Closed, with nothing counted."""
    assert standing(app, name) == {
        "name": name, "state": "closed", "generation": 0, "calls": 0, "failures": 0, "slow": 0, "left_s": 0.0,
        "probes": 0, "since_s": None, "who": "", "why": "",
    }  # fmt: skip
    assert "1 breaker" in call(app, "list").stdout or "breakers" in call(app, "list").stdout


def test_what_another_app_declares_is_not_listed(app: Celery, name: str, prefix: str) -> None:
    """Only its own breakers, and those that no app has for itself."""
    other = Celery(f"other-{prefix}", set_as_current=False)
    Breaker(f"{name}.theirs", app=other, probes=7)
    Breaker(f"{name}.ours", app=app, probes=7)
    Breaker(f"{name}.shared")
    listed = {json.loads(line)["name"] for line in call(app, "list", "--json").stdout.splitlines()}
    assert {each for each in listed if name in each} == {name, f"{name}.ours", f"{name}.shared"}
    assert call(app, "open", f"{name}.theirs").exit_code == 3
    other.close()


def test_breakers_of_modules_that_a_worker_would_import_are_listed(app: Celery, name: str) -> None:
    """By name, in the order of the alphabet."""

    def imported(**_: object) -> None:
        for one in "zxy":
            Breaker(f"{name}.{one}", app=app)

    signals.import_modules.connect(imported, sender=app)
    listed = [json.loads(line)["name"] for line in call(app, "list", "--json").stdout.splitlines()]
    assert [each for each in listed if name in each] == [name, f"{name}.x", f"{name}.y", f"{name}.z"]


def test_what_is_counted_is_listed(app: Celery, name: str) -> None:
    """In the window; and when it opens, who opened it, why, and when it is probed."""
    breaker = Breaker(name, app=app)
    for number in range(2):
        with pytest.raises(ValueError, match="sick"), breaker:
            raise ValueError("sick")
        eventually(lambda: standing(app, name)["failures"] == number + 1)  # noqa: B023 - asked at once
    with pytest.raises(ValueError, match="sick"), breaker:
        raise ValueError("sick")
    eventually(lambda: standing(app, name)["state"] == "open")
    found = standing(app, name)
    assert (found["why"], found["calls"]) == ("3 of 3 failed", 0)
    assert 0 < found["left_s"] <= 30
    (row,) = [line for line in call(app, "list").stdout.splitlines() if line.startswith(name)]
    assert row.split()[1:5] == ["open", "0", "0", "0"]
    assert "3 of 3 failed" in row


def test_an_operator_opens_closes_and_resets(app: Celery, name: str, client: Redis, keys: Keys) -> None:
    """And is told how it stands then."""
    opened = call(app, "open", name, "--why", "their status page")
    assert (opened.exit_code, opened.stdout) == (0, f"{name} is open, until somebody closes it\n")
    found = standing(app, name)
    assert (found["state"], found["left_s"], found["why"]) == ("open", None, "by hand: their status page")
    assert "@" in found["who"]
    assert " never " in call(app, "list").stdout
    assert call(app, "close", name).stdout == f"{name} is closed\n"
    brief = json.loads(call(app, "open", name, "--for", "30", "--json").stdout)
    assert brief["state"] == "open"
    assert 29 < brief["left_s"] <= 30
    assert "probed in" in call(app, "open", name, "--for", "30").stdout
    assert call(app, "reset", name).stdout == f"{name} is closed\n"
    assert not client.sismember(keys.breakers, name)


def test_a_name_that_there_is_not_is_refused_with_the_near_one(app: Celery, name: str) -> None:
    """With an exit code of its own; nothing is written."""
    for verb in ("open", "close", "reset"):
        result = call(app, verb, f"{name}x")
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr == f"no breaker is named '{name}x', did you mean '{name}'?\n"


@pytest.mark.parametrize("args", [["open"], ["open", "x", "--for", "0"], ["close", "x", "y"], ["list", "x"]])
def test_what_makes_no_sense_is_a_usage_error(app: Celery, args: list[str]) -> None:
    """Exit code 2."""
    assert call(app, *args).exit_code == 2


def test_without_an_app_it_says_how_to_name_one() -> None:
    """In one line."""
    result = call(None, "list")
    assert result.exit_code == 2
    assert "celery -A YOUR_APP breakers list" in result.stderr


def test_what_others_wrote_is_shown_safely(app: Celery, name: str, client: Redis, keys: Keys) -> None:
    """No escape reaches the terminal; what is no number is none; what is no name is not shown."""
    client.sadd(keys.breakers, name, "\x1b[31mred", "a:b")
    client.hset(keys.breaker(name), "who", b"\xff\x1b")
    for field, value in {"state": "\x1b[2Jopen", "until_ms": "soon", "generation": "x", "w1": "1 1", "wx": "2"}.items():
        client.hset(keys.breaker(name), field, value)
    result = call(app, "list")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "[31m" not in result.stdout
    assert "a:b" not in result.stdout
    listed = [json.loads(line)["name"] for line in call(app, "list", "--json").stdout.splitlines()]
    assert {each for each in listed if name in each} == {name}
    assert not {"\x1b[31mred", "red", "a:b"} & set(listed)
    assert standing(app, name)["generation"] == 0


@pytest.mark.one_server
def test_redis_away_is_told_in_one_line(app: Celery, own_server: EmbeddedRedis) -> None:
    """And exit code 1."""
    app.conf.update(broker_read_url=own_server.broker_url, broker_write_url=own_server.broker_url)
    own_server.stop()
    result = call(app, "list")
    assert result.exit_code == 1
    assert "Redis could not be asked" in result.stderr
