"""``celery -A app timeouts``: the table, why it is so, and changes for all processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery.bin.celery import celery

from hardening import harden
from hardening.cli.timeouts import timeouts as group
from hardening.timeouts import timeout_for
from tests.eventually import eventually
from tests.terminal import call_celery
from tests.unit.making import make

if TYPE_CHECKING:
    from celery import Celery
    from click.testing import Result
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys

pytestmark = pytest.mark.one_server


@pytest.fixture(autouse=True)
def _known() -> None:
    """The command is there, also where the metadata installed is older than it."""
    celery.add_command(group)


@pytest.fixture
def app(server: EmbeddedRedis, prefix: str) -> Celery:
    """An app that declares some."""
    rules = {"shop.charge": "long", "network_call.*": 8, "service:mail": 2}
    return harden(make(server.broker_url, hardening_prefix=prefix, hardening_timeouts=rules))


def _call(app: Celery | None, *args: str) -> Result:
    return call_celery(app, "timeouts", *args)


def _rows(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.output
    return [line.split() for line in result.stdout.splitlines()]


def test_show_tells_every_rule_and_where_it_comes_from(app: Celery) -> None:
    """At 80 columns, for a pipe, and as JSON."""
    _call(app, "set", "critical", "90")
    result = _call(app, "show")
    assert _rows(result) == [
        ["name", "seconds", "value", "from"],
        ["critical", "90", "90", "set", "for", "all"],
        ["default", "5", "5", "built", "in"],
        ["long", "30", "30", "built", "in"],
        ["network_call.*", "8", "8", "settings"],
        ["service:mail", "2", "2", "settings"],
        ["shop.charge", "30", "long", "settings"],
    ]
    assert max(map(len, result.stdout.splitlines())) <= 80
    found: dict[str, Any] = json.loads(_call(app, "show", "--json").stdout)
    assert found["factor"] == 1
    assert found["timeouts"][-1] == {"name": "shop.charge", "seconds": 30, "value": "long", "source": "settings"}


def test_show_tells_which_rule_is_in_force_for_a_name(app: Celery) -> None:
    """Several at once."""
    assert _rows(_call(app, "show", "mail.send", "x")) == [
        ["name", "seconds", "rule", "from"],
        ["mail.send", "2", "service:mail", "settings"],
        ["x", "5", "default", "built", "in"],
    ]
    found: dict[str, Any] = json.loads(_call(app, "show", "mail.send", "--json").stdout)
    assert found["timeouts"] == [{"name": "mail.send", "seconds": 2, "rule": "service:mail", "source": "settings"}]


def test_the_factor_is_shown(server: EmbeddedRedis, prefix: str) -> None:
    """So that nobody wonders."""
    app = harden(make(server.broker_url, hardening_prefix=prefix, hardening_timeout_factor=3))
    rows = _rows(_call(app, "show"))
    assert ["default", "15", "5", "built", "in"] in rows
    assert rows[-1] == ["all", "of", "them", "multiplied", "by", "the", "factor", "3"]


def test_set_and_unset_reach_every_process(app: Celery, client: Redis, keys: Keys) -> None:
    """At once, and back."""
    assert timeout_for("shop.charge", app=app) == 30
    assert _call(app, "set", "shop.charge", "7.5").stdout == "shop.charge is 7.5 s for all processes\n"
    assert client.hgetall(keys.timeouts) == {b"shop.charge": b"7.5"}
    eventually(lambda: timeout_for("shop.charge", app=app) == 7.5, 1)
    assert _call(app, "set", "shop.charge", "critical").stdout == "shop.charge is critical for all processes\n"
    eventually(lambda: timeout_for("shop.charge", app=app) == 60, 1)
    assert _call(app, "unset", "shop.charge").stdout == "shop.charge is not set for all processes any more\n"
    eventually(lambda: timeout_for("shop.charge", app=app) == 30, 1)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("set", "a", "inf"), "a is 'inf', expected seconds, or one of default, long, critical"),
        (("set", "a", "0"), "a is 0.0, expected from 0.001 to 31536000 seconds: nothing waits for ever"),
        (("set", "a", "lnog"), "a is 'lnog', did you mean 'long'?"),
        (("set", "servcie:a", "3"), "unknown rule 'servcie:a', did you mean 'service:a'?"),
        (("set", "long", "critical"), "long is 'critical', expected seconds: it is a class itself"),
        (("set", "a"), "Missing argument 'SECONDS'."),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(
    app: Celery, client: Redis, keys: Keys, args: tuple[str, ...], told: str
) -> None:
    """Nothing is set."""
    result = _call(app, *args)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"Error: {told}"
    assert not client.exists(keys.timeouts)


def test_unset_of_what_was_not_set_names_the_near_one(app: Celery) -> None:
    """Exit code 3."""
    _call(app, "set", "shop.refund", "3")
    result = _call(app, "unset", "shop.refnud")
    assert (result.exit_code, result.stderr) == (
        3, "shop.refnud is not set for all processes, did you mean shop.refund?\n"
    )  # fmt: skip
    assert _call(app, "unset", "zzz").stderr == "zzz is not set for all processes\n"


def test_without_an_app_or_redis_one_line_says_so() -> None:
    """Never a traceback."""
    assert _call(None, "show").exit_code == 2
    result = _call(harden(make()), "show")
    assert result.exit_code == 1
    assert "Redis could not be asked" in result.stderr
