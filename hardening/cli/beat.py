"""``celery -A APP hardening beat``: Celery's own command with our scheduler."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from celery.bin.beat import beat as celerys

if TYPE_CHECKING:
    import click

__all__ = ["beat"]

#: Named, not imported: beats are a floor of their own.
_SCHEDULER = "beat_schedules.scheduler:HardenedScheduler"


def _made() -> click.Command:
    command = copy.copy(celerys)
    command.params = [copy.copy(param) for param in celerys.params]
    for param in command.params:
        if param.name == "scheduler":
            param.default = _SCHEDULER
    command.help = "Start a beat that leads, or stands by while another does; see docs/scheduling.md."
    return command


beat = _made()
