"""The dead-letter queue: every message that cannot be delivered, kept whole, with the reason.

The names below are loaded when they are first used, because every ``celery`` call imports ``dlq.cli``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlq.entry import Entry
    from dlq.hooks import on_bury
    from dlq.queue import DeadLetters
    from dlq.reason import Reason
    from dlq.selection import Selection
    from dlq.stats import Stats

__all__ = ["DeadLetters", "Entry", "Reason", "Selection", "Stats", "on_bury"]

_HOMES = {
    "DeadLetters": "dlq.queue",
    "Entry": "dlq.entry",
    "Reason": "dlq.reason",
    "Selection": "dlq.selection",
    "Stats": "dlq.stats",
    "on_bury": "dlq.hooks",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
