"""The error context in logs: of the standard library, and of structlog."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from hardening.context.here import current
from hardening.context.shown import as_line, masked

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["ContextFilter", "add_error_context"]


class ContextFilter(logging.Filter):
    """Gives each record the context in which it was logged; lets all records pass.

    Put it on handlers, not on loggers, so that it sees what comes from loggers further down::

        handler.addFilter(ContextFilter())
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s %(error_context)s"))

    The record has ``correlation_id``, ``operation``, ``error_context`` (one line of text) and ``error_fields`` (a
    dictionary), with secrets masked; empty where there is no context. It costs a record about as much as formatting.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by logging, in the thread that logs."""
        here = current()
        shown = masked(here.packed()) if here else None
        record.correlation_id = shown["correlation_id"] if shown else ""
        record.operation = shown["operation"] if shown else ""
        record.error_context = as_line(shown) if shown else ""
        record.error_fields = shown["fields"] if shown else {}
        return True


def add_error_context(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: adds ``correlation_id``, ``operation`` and ``error_context``, its fields.

    What the event has under these names stays. Secrets are masked; without a context nothing is added.
    """
    if here := current():
        shown = masked(here.packed())
        event.setdefault("correlation_id", shown["correlation_id"])
        event.setdefault("operation", shown["operation"])
        event.setdefault("error_context", shown["fields"])
    return event
