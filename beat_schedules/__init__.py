"""Schedules that any number of beats keep, of which one leads: each slot is sent exactly once.

The names below are loaded when they are first used, because every ``celery`` call imports ``beat_schedules.cli``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beat_schedules.periodic import Owner, register_periodic
    from beat_schedules.schedules import Schedules
    from beat_schedules.times import Cron, Every, Once, Solar

__all__ = ["Cron", "Every", "Once", "Owner", "Schedules", "Solar", "register_periodic"]

_HOMES = {
    "Cron": "beat_schedules.times",
    "Every": "beat_schedules.times",
    "Once": "beat_schedules.times",
    "Owner": "beat_schedules.periodic",
    "Schedules": "beat_schedules.schedules",
    "Solar": "beat_schedules.times",
    "register_periodic": "beat_schedules.periodic",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
