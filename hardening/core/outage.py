"""What happens on the sending side while Redis is away, as events; see :mod:`hardening.core.telemetry`."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = ["BreakerChanged", "MessageRefused", "MessageSpooled", "SpoolFailed", "SpoolFlushed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(Event):
    """The breaker of this process's sends changed its state."""

    name = "hardening.breaker.changed"
    is_alarming = True
    state: str  #: ``closed``, ``open`` or ``half_open``
    generation: int  #: counts the changes
    pause_s: float  #: how long it stays open before a probe; 0: it is not open


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSpooled(Event):
    """A message was put into the spool, durably, because Redis is away."""

    name = "hardening.message.spooled"
    receipt: str  #: the id of its receipt
    task: str  #: its task's name
    queue: str  #: where it is to go
    why: str  #: what Redis, or the way to it, answered


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRefused(Event):
    """A spooled message cannot be published as it is: it is set aside, and the next ones go on."""

    name = "hardening.message.refused"
    is_alarming = True
    receipt: str  #: the id of its receipt
    task: str  #: its task's name
    queue: str  #: where it was to go
    error: str  #: why


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolFlushed(Event):
    """Spooled messages were published."""

    name = "hardening.spool.flushed"
    flushed: int  #: how many Redis has now, and the spool no longer
    repeated: int  #: how many of them Redis had already
    refused: int  #: how many were set aside
    left: int  #: how many still wait


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolFailed(Event):
    """A flush failed for want of something else than Redis; it is tried again."""

    name = "hardening.spool.failed"
    is_alarming = True
    error: str  #: what was raised
