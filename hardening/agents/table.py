"""Which agents an app hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

    from hardening.agents.agent import Agent

__all__ = ["hosted", "table_of"]

_HOSTED = "_hardening_agents"


def hosted(app: Celery) -> Mapping[str, type[Agent]]:
    """The classes of the agents that an app hosts, by name."""
    return dict(table_of(app))


def table_of(app: Celery) -> dict[str, type[Agent]]:
    """The same, to be added to."""
    table: dict[str, type[Agent]] = vars(app).setdefault(_HOSTED, {})
    return table
