"""Connections below Celery: kombu alone, with either side's transport."""

from __future__ import annotations

from typing import Any

from kombu import Connection

from benchmarks.side import Side

__all__ = ["connect"]


def connect(url: str, side: Side) -> Any:
    """A connection of kombu's; the hardened transport has its default settings."""
    return Connection(url, transport="hardening.transport:Transport" if side is Side.HARDENED else None)
