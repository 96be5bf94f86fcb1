"""What happens to breakers that workers share, as events; see :mod:`hardening.core.telemetry`.

Each process tells of the changes that it learns of; the one that decided a change says ``is_ours``.
"""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = [
    "CircuitClosed",
    "CircuitForced",
    "CircuitHalfOpened",
    "CircuitOpened",
    "CircuitsIsolated",
    "CircuitsRejoined",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitChanged(Event):
    """What all changes of a breaker tell."""

    name = "hardening.circuit.changed"
    breaker: str  #: its name
    generation: int  #: counts its changes; below 0: this process is on its own, for Redis is away
    state: str  #: ``closed``, ``open`` or ``half_open``, from now on
    who: str  #: the process, or the person, that changed it
    why: str  #: and for what reason
    is_ours: bool  #: whether this process decided it


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitOpened(CircuitChanged):
    """Too many calls failed, or were slow: nothing is let through for a while."""

    name = "hardening.circuit.opened"
    is_alarming = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitHalfOpened(CircuitChanged):
    """Its pause is over: a few calls are let through, to see."""

    name = "hardening.circuit.half_opened"


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitClosed(CircuitChanged):
    """The probes succeeded: everything is let through."""

    name = "hardening.circuit.closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitForced(CircuitChanged):
    """Somebody opened, closed or reset it by hand."""

    name = "hardening.circuit.forced"
    is_alarming = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitsIsolated(Event):
    """Redis is away: until it is back, each breaker of this process goes by what this process sees alone."""

    name = "hardening.circuit.isolated"
    is_alarming = True
    breakers: int  #: how many breakers there are in this process
    error: str  #: what Redis, or the way to it, answered


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitsRejoined(Event):
    """Redis is back: the breakers of this process are shared again."""

    name = "hardening.circuit.rejoined"
    breakers: int  #: how many breakers there are in this process
    away_s: float  #: how long it was away, in seconds
