"""The table: what may be declared, from where, and what is set over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from hardening import harden
from hardening.core.errors import ConfigError
from hardening.core.settings import Settings
from hardening.timeouts import set_timeout, timeout_for, unset_timeout
from hardening.timeouts.lookup import timeouts_of
from hardening.timeouts.table import Table, read_file, shown, stored
from tests.unit.making import make

if TYPE_CHECKING:
    from pathlib import Path


def _faults(rules: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        Settings.load({"hardening_timeouts": rules}, {})
    (fault,) = raised.value.faults
    assert fault.startswith("hardening_timeouts is ")
    return fault.partition("value error, ")[2].split("; ")


_RANGE = "expected from 0.001 to 31536000 seconds: nothing waits for ever"


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"a": float("inf")}, f"a is inf, {_RANGE}"),
        ({"a": float("nan")}, f"a is nan, {_RANGE}"),
        ({"a": 0}, f"a is 0.0, {_RANGE}"),
        ({"a": -1}, f"a is -1.0, {_RANGE}"),
        ({"a": 31_536_001}, f"a is 31536001.0, {_RANGE}"),
        ({"a": True}, "a is True, expected seconds, or one of default, long, critical"),
        ({"a": None}, "a is None, expected seconds, or one of default, long, critical"),
        ({"a": "lnog"}, "a is 'lnog', did you mean 'long'?"),
        ({"a": "zzz"}, "a is 'zzz', expected seconds, or one of default, long, critical"),
        ({"long": "critical"}, "long is 'critical', expected seconds: it is a class itself"),
        ({"servcie:x": 1}, "unknown rule 'servcie:x', did you mean 'service:x'?"),
        ({"zzz:x": 1}, "unknown rule 'zzz:x', expected service:NAME"),
        ({"service:x*": 1}, "rule 'service:x*' has a *, and covers what is under it anyway: leave the * out"),
        ({"service:": 1}, "rule 'service:' is no name: expected up to 200 letters, digits, and . _ - / *"),
        ({"a b": 1}, "rule 'a b' is no name: expected up to 200 letters, digits, and . _ - / *"),
        ({"a\n": 1}, "rule 'a\\n' is no name: expected up to 200 letters, digits, and . _ - / *"),
        ({"*" * 9: 1}, "rule '*********' has more than 8 *"),
        (
            {"defualt": 1},
            (
                "rule 'defualt' is nearly a class, did you mean 'default'? "
                "A task of that name is covered by 'service:defualt'"
            ),
        ),
        ("[]", 'expected a mapping such as {"default": 5, "network_call.*": "long"}'),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_loaded(rules: Any, told: str) -> None:
    """One sentence, which says what to do."""
    assert _faults(rules) == told.split("; ")


def test_all_faults_are_told_at_once() -> None:
    """Not one a restart."""
    assert len(_faults({"a": -1, "b": "lnog", "c d": 2, "ok": 5})) == 3


def test_rules_come_from_the_environment_as_json() -> None:
    """An operator's word."""
    settings = Settings.load({}, {"HARDENING_TIMEOUTS": '{"pay.*": "long", "b": 3}', "HARDENING_TIMEOUT_FACTOR": "3"})
    table = Table(settings)
    assert (table.seconds("pay.x"), table.seconds("b"), table.seconds("c")) == (90, 9, 15)


def test_a_file_lies_under_the_settings(tmp_path: Path) -> None:
    """TOML reads a name with dots as tables; both ways of writing it are one."""
    path = tmp_path / "t.toml"
    path.write_text('[timeouts]\ndefault = 6\npay.refund = 12\n"network_call.*" = "critical"\n"service:mail" = 2\n')
    table = Table(Settings(timeouts={"pay.refund": 13.0}, timeouts_file=str(path)))
    names = ("x", "pay.refund", "network_call.get", "mail.send", "long")
    assert [(table.seconds(name), table.resolve(name).source) for name in names] == [
        (6, "file"), (13, "settings"), (60, "file"), (2, "file"), (30, "built in")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read: "),
        ("[timeouts", "is no TOML: "),
        (b"\xff", "is no TOML: "),
        ("x = 1", "has no table [timeouts]"),
        ("timeouts = 1", "has no table [timeouts]"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str | bytes | None, told: str) -> None:
    """By its path."""
    path = tmp_path / "t.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as raised:
        read_file(str(path))
    assert str(raised.value).startswith(f"hardening_timeouts_file {str(path)!r} {told}")


def test_an_app_is_told_all_faults_of_its_file_and_its_settings(tmp_path: Path) -> None:
    """When it is hardened."""
    path = tmp_path / "t.toml"
    path.write_text('[timeouts]\na = inf\nb = "lnog"\n')
    with pytest.raises(ConfigError) as raised:
        harden(make(hardening_timeouts_file=str(path), broker_transport_options={"sep": ":"}))
    faults = raised.value.faults
    assert faults[:2] == (
        f"hardening_timeouts_file {str(path)!r}: a is inf, {_RANGE}",
        f"hardening_timeouts_file {str(path)!r}: b is 'lnog', did you mean 'long'?",
    )
    assert len(faults) == 3


def test_what_is_set_here_is_over_all_until_it_is_unset() -> None:
    """In this process; what is said for all lies between."""
    app = harden(make(hardening_timeouts={"a.b": 7, "a.*": 8}))
    table = timeouts_of(app).table
    assert timeout_for("a.b", app=app) == 7
    assert table.set_for_all({"a.b": 9.0, "a.*": "long"})
    assert not table.set_for_all({"a.b": 9.0, "a.*": "long"})
    assert (table.resolve("a.b").source, table.resolve("a.c").seconds) == ("set for all", 30)
    set_timeout("a.b", 10, app=app)
    set_timeout("long", 20, app=app)
    assert (timeout_for("a.b", app=app), table.resolve("a.b").source) == (10, "set here")
    assert timeout_for("a.c", app=app) == 20
    assert unset_timeout("a.b", app=app)
    assert not unset_timeout("a.b", app=app)
    assert timeout_for("a.b", app=app) == 9
    with pytest.raises(ValueError, match="a is inf"):
        set_timeout("a", float("inf"), app=app)
    with pytest.raises(ValueError, match="did you mean 'service:a'"):
        set_timeout("serivce:a", 3, for_all=True, app=app)


def test_an_app_that_is_not_hardened_has_no_timeouts() -> None:
    """It is said what to do."""
    with pytest.raises(ConfigError, match="is not hardened"):
        timeout_for("a", app=Celery("plain", set_as_current=False))


@pytest.mark.parametrize(("text", "value"), [("5", 5.0), ("1e2", 100.0), ("long", "long"), ("inf", "inf"), ("x", "x")])
def test_a_value_is_stored_as_text(text: str, value: object) -> None:
    """And read as what it was, or as a text to be refused."""
    assert stored(text) == value
    assert stored(shown(0.1)) == 0.1
    assert stored(shown("long")) == "long"
