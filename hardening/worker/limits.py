"""Time limits: every task has one, unless it says that it wants none.

The defaults are put on the tasks and not into ``task_time_limit``, because Celery's pool would apply those of the
configuration to tasks that explicitly say None. What a user configured there becomes the default here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.settings import Settings

__all__ = ["effective", "give_limits", "limits_for"]

Limits = dict[str, float | None]


def limits_for(app: Celery, settings: Settings) -> Limits:
    """The default limits of an app's tasks, in seconds; None: no limit."""
    conf: Any = app.conf
    ours = {"time_limit": settings.time_limit_s, "soft_time_limit": settings.soft_time_limit_s}
    return {name: conf[f"task_{name}"] if conf.value_set_for(f"task_{name}") else value for name, value in ours.items()}


def give_limits(app: Any, limits: Limits) -> None:
    """Has tasks take the default limits when they are bound, unless they, or their base, say otherwise."""
    bind = app.Task.bind.__func__

    def bind_with_limits(cls: Any, to: Celery) -> Any:
        for name, limit in limits.items():
            if name not in cls.__dict__ and getattr(cls, name, None) is None:
                setattr(cls, name, limit)
        return bind(cls, to)

    app.Task.bind = classmethod(bind_with_limits)
    if app.finalized:  # bound already: whether None was meant can no longer be told
        for task in app.tasks.values():
            for name, limit in limits.items():
                if getattr(task, name) is None:
                    setattr(type(task), name, limit)


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
