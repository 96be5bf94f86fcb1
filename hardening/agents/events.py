"""What happens to agents, as events; see :mod:`hardening.core.telemetry`."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = ["AgentHalting", "AgentRestarted", "AgentRestored", "AgentTurnLost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRestored(Event):
    """A process read the state of an agent, to run it."""

    name = "hardening.agent.restored"
    agent: str  #: its name
    size: int  #: of the state, in bytes
    entries: int  #: of the journal that were run again
    took_s: float  #: how long that took, in seconds
    is_migrated: bool  #: whether the state was of another schema


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRestarted(Event):
    """A handler raised: its agent begins anew from what was last committed."""

    name = "hardening.agent.restarted"
    is_alarming = True
    agent: str  #: its name
    handler: str  #: which
    error: str  #: what was raised
    restarts: int  #: how many there were within the period
    pause_s: float  #: how long it backs off, in seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentHalting(Event):
    """A supervisor halts an agent; its owner, if it has one, is told."""

    name = "hardening.agent.halted"
    is_alarming = True
    agent: str  #: its name
    halt: str  #: ``parked`` or ``stopped``
    error: str  #: the last thing that was raised
    restarts: int  #: how many there were within the period


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTurnLost(Event):
    """A process wanted to commit what was no longer its own; nothing was written."""

    name = "hardening.agent.turn_lost"
    is_alarming = True
    agent: str  #: its name
    handler: str  #: which
    message: str  #: id of the message
