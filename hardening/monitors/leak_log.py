"""Leaks in the log of the process that found them, though nobody subscribed to events."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hardening.core import telemetry
from hardening.core.console import one_line
from hardening.monitors.events import MonitorLeaked

if TYPE_CHECKING:
    from hardening.core.telemetry import Event

__all__ = ["log_leaks"]

logger = logging.getLogger("hardening.monitors")
_logging: list[telemetry.Subscription] = []


def log_leaks() -> None:
    """Logs each leak with its tag and stack, as a warning, from now on. Idempotent."""
    if not _logging:
        _logging.append(telemetry.attach(MonitorLeaked.name, _log))


def _log(event: Event) -> None:
    if isinstance(event, MonitorLeaked):
        text = (
            f"leak: monitor {event.monitor} of {event.target}, tag {event.tag!r}, is {event.age_s:.0f} s old"
            f"{f', set by task {event.task}' if event.task else ''}; {' < '.join(event.stack) or 'no stack is kept'}"
        )
        logger.warning("%s", one_line(text))
