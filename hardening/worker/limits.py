"""Time limits: every task has one, unless it says that it wants none.

What a task, or the base it is made from, says itself wins; then what the sender of a message says; then a rule of the
table of timeouts that is about the task (docs/timeouts.md); then the defaults, which are what a user configured in
``task_time_limit`` and ``task_soft_time_limit``, or ours.

The defaults are put on the tasks and not into ``task_time_limit``, because Celery's pool would apply those of the
configuration to tasks that explicitly say None. They are not put into messages, or a worker could not tell them from
what a task says itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.settings import Settings

__all__ = ["effective", "from_table", "give_limits", "limits_for"]

Limits = dict[str, float | None]

#: Where a task has the limits that it was given.
_GIVEN = "_hardening_given_limits"
_NAMES = ("time_limit", "soft_time_limit")


def limits_for(app: Celery, settings: Settings) -> Limits:
    """The default limits of an app's tasks, in seconds; None: no limit."""
    conf: Any = app.conf
    ours = {"time_limit": settings.time_limit_s, "soft_time_limit": settings.soft_time_limit_s}
    return {name: conf[f"task_{name}"] if conf.value_set_for(f"task_{name}") else value for name, value in ours.items()}


def give_limits(app: Any, limits: Limits) -> None:
    """Has tasks take the default limits when they are bound, unless they, or their base, say otherwise."""
    bind, exec_options = app.Task.bind.__func__, app.Task._get_exec_options

    def bind_with_limits(cls: Any, to: Celery) -> Any:
        _give(cls, {name: limit for name, limit in limits.items() if name not in cls.__dict__})
        return bind(cls, to)

    def own_exec_options(self: Any) -> Any:
        if self._exec_options is None:
            defaults = dict.fromkeys(name for name in limits if _is_given(self, name))
            self._exec_options = {**exec_options(self), **defaults}
        return self._exec_options

    app.Task.bind = classmethod(bind_with_limits)
    app.Task._get_exec_options = own_exec_options
    if app.finalized:  # bound already: whether None was meant can no longer be told
        for task in app.tasks.values():
            _give(type(task), limits)


def _give(cls: Any, limits: Limits) -> None:
    """Gives a task the default limits that it does not have."""
    given = {name: limit for name, limit in limits.items() if getattr(cls, name, None) is None}
    for name, limit in given.items():
        setattr(cls, name, limit)
    setattr(cls, _GIVEN, {**getattr(cls, _GIVEN, {}), **given})


def _is_given(task: Any, name: str) -> bool:
    """Whether a limit is the default, and nobody has put another there since: an annotation, remote control."""
    given: Limits = getattr(task, _GIVEN, {})
    return name in given and getattr(task, name) == given[name]


def from_table(limits: tuple[Any, Any], task: Any, soft_s: float, settings: Settings) -> tuple[Any, Any]:
    """The hard and soft limit of one request, by the rule of the table that is about its task.

    A rule says how long a task may run before it is told to end, so it is the soft limit. The hard one is longer by
    as much as it is in the settings, in proportion, and by at least a second.

    Args:
        limits: what the message says.
        task: the task; if it, or the message, says anything of limits, nothing is changed.
        soft_s: what the rule says, in seconds.
        settings: of the app.
    """
    if limits[0] or limits[1] or not all(_is_given(task, name) for name in _NAMES):
        return limits
    return max(soft_s + 1.0, soft_s * settings.time_limit_s / settings.soft_time_limit_s), soft_s


def effective(limits: tuple[Any, Any], task: Any) -> tuple[Any, Any]:
    """The hard and soft limit of one request, which Celery applies as (hard, soft).

    Celery's prefork pool starts the clock of the hard limit when that of the soft one has run out, so a
    hard limit below the soft one would never be kept. Here the soft one comes down to it.
    """
    hard, soft = limits
    hard_in_force, soft_in_force = hard or task.time_limit, soft or task.soft_time_limit
    if hard_in_force and soft_in_force and hard_in_force < soft_in_force:
        return hard_in_force, hard_in_force
    return hard, soft
