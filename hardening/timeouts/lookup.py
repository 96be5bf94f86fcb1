"""How long something may take: what anyone asks, and how it is changed while everything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from celery import _state

from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts.timeouts import change_timeout
from hardening.timeouts.follower import Follower
from hardening.timeouts.table import Table, shown, valid

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.settings import Settings
    from hardening.core.timeout_rules import Value

__all__ = ["Timeouts", "install", "set_timeout", "timeout_for", "timeouts_of", "unset_timeout"]

_TIMEOUTS = "_hardening_timeouts"


class Timeouts(NamedTuple):
    """The timeouts of one app in this process.

    Attributes:
        table: what is in force.
        follower: keeps it up to date.
    """

    table: Table
    follower: Follower


def install(app: Celery, table: Table) -> None:
    """Gives an app its timeouts; once, when it is hardened."""
    setattr(app, _TIMEOUTS, Timeouts(table, Follower(app, table)))


def timeouts_of(app: Celery) -> Timeouts:
    """The timeouts of a hardened app.

    Raises:
        ConfigError: the app is not hardened.
    """
    found: Timeouts | None = vars(app).get(_TIMEOUTS)
    if found is None:
        settings_of(app)  # says what to do
        raise AssertionError("a hardened app has timeouts")  # pragma: no cover
    return found


def timeout_for(name: str, *, app: Celery | None = None) -> float:
    """How long something may take, in seconds. Asks nobody: what is set for all processes is followed by a thread.

    Args:
        name: of an operation, such as ``"payments.refund"`` or a task's name; or of a class.
        app: a hardened app; default: the current one.

    Raises:
        ConfigError: the app is not hardened.
    """
    found: Timeouts | None = vars(app or _current_app()).get(_TIMEOUTS)
    if found is None:
        found = timeouts_of(_real(app))
    table, follower = found
    if not follower.is_started:
        follower.start()
    return table.seconds(name)


def set_timeout(rule: str, seconds: Value, *, for_all: bool = False, app: Celery | None = None) -> None:
    """Sets a rule while everything runs: in this process until it ends, or for all processes until it is unset.

    Args:
        rule: named as in the setting ``hardening_timeouts``.
        seconds: how long; or the name of a class.
        for_all: in Redis, from where every process of the deployment takes it up at once.
        app: a hardened app; default: the current one.

    Raises:
        ValueError: the rule or the value makes no sense.
        ConfigError: the app is not hardened.
        redis.RedisError: with ``for_all``, Redis could not be asked.
    """
    app = _real(app)
    value = valid(rule, seconds)
    if for_all:
        _change(app, rule, shown(value))
    else:
        timeouts_of(app).table.set_here(rule, value)


def unset_timeout(rule: str, *, for_all: bool = False, app: Celery | None = None) -> bool:
    """Takes a rule back that was set while everything runs; what was declared is in force again.

    Args:
        rule: its name.
        for_all: the one that was set for all processes.
        app: a hardened app; default: the current one.

    Returns:
        Whether it was set.

    Raises:
        ConfigError: the app is not hardened.
        redis.RedisError: with ``for_all``, Redis could not be asked.
    """
    app = _real(app)
    if for_all:
        return bool(_change(app, rule, ""))
    return timeouts_of(app).table.set_here(rule, None)


def _change(app: Celery, rule: str, value: str) -> bytes:
    settings: Settings = settings_of(app)
    before: bytes = change_timeout(settings.keys, rule, value).run(client_of(app))
    return before


def _current_app() -> Celery:
    current: Celery = _state.get_current_app()
    return current


def _real(app: Celery | None) -> Celery:
    return app or _current_app()
