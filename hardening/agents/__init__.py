"""Agents: named actors with a mailbox, a state and a supervisor, hosted by Celery workers.

The names below are loaded when they are first used: every ``celery`` call imports this room for its command.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardening.agents.actor import Agent
    from hardening.agents.errors import (
        AgentError,
        AgentHalted,
        AgentUnknown,
        AskFailed,
        AskTimeout,
        HandlerUnknown,
        Refused,
        StateRefused,
    )
    from hardening.agents.handlers import handles
    from hardening.agents.hosting import host
    from hardening.agents.mailbox import Mailbox
    from hardening.agents.ref import AgentRef, agent
    from hardening.agents.state import AgentState
    from hardening.agents.status import AgentStatus
    from hardening.agents.supervisor import Supervisor
    from hardening.agents.table import hosted
    from hardening.core.errors import MailboxFull

__all__ = [
    "Agent",
    "AgentError",
    "AgentHalted",
    "AgentRef",
    "AgentState",
    "AgentStatus",
    "AgentUnknown",
    "AskFailed",
    "AskTimeout",
    "HandlerUnknown",
    "Mailbox",
    "MailboxFull",
    "Refused",
    "StateRefused",
    "Supervisor",
    "agent",
    "handles",
    "host",
    "hosted",
]

_HOMES = {
    "Agent": "hardening.agents.actor",
    "AgentError": "hardening.agents.errors",
    "AgentHalted": "hardening.agents.errors",
    "AgentRef": "hardening.agents.ref",
    "AgentState": "hardening.agents.state",
    "AgentStatus": "hardening.agents.status",
    "AgentUnknown": "hardening.agents.errors",
    "AskFailed": "hardening.agents.errors",
    "AskTimeout": "hardening.agents.errors",
    "HandlerUnknown": "hardening.agents.errors",
    "Mailbox": "hardening.agents.mailbox",
    "MailboxFull": "hardening.core.errors",
    "Refused": "hardening.agents.errors",
    "StateRefused": "hardening.agents.errors",
    "Supervisor": "hardening.agents.supervisor",
    "agent": "hardening.agents.ref",
    "handles": "hardening.agents.handlers",
    "host": "hardening.agents.hosting",
    "hosted": "hardening.agents.table",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
