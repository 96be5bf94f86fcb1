"""Agents: named actors with a mailbox, a state and a supervisor, hosted by Celery workers."""

from __future__ import annotations

from hardening.agents.agent import Agent
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
from hardening.agents.supervisor import Supervisor
from hardening.agents.table import hosted
from hardening.core.errors import MailboxFull

__all__ = [
    "Agent",
    "AgentError",
    "AgentHalted",
    "AgentRef",
    "AgentState",
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
