"""Hosts the agents of the stack; every process of the stack imports this."""

from __future__ import annotations

from workers.app import app, settings
from workers.system_agents import agents_of, host_agents

host_agents(app, *agents_of(settings))
