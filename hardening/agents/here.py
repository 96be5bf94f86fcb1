"""Which agent runs here."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["running"]

#: The name of the agent whose handler this thread runs; empty: none.
running: ContextVar[str] = ContextVar("hardening_agent", default="")
