"""The agents of the stack itself. A worker runs those from whose mailboxes it takes: ``-Q agent.coordinator``."""

from __future__ import annotations

from hardening import host
from workers.app import app
from workers.coordinator_agent import CoordinatorAgent

__all__ = ["app"]

host(app, CoordinatorAgent)
