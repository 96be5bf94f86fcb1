"""What happens where processes act together, as events; see :mod:`hardening.core.telemetry`."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = [
    "BarrierFailed",
    "GrantReaped",
    "GrantsNotRenewed",
    "LeadEnded",
    "LeadGained",
    "LeadNotAsked",
    "LeadTellFailed",
    "RequestBuried", "RequestDeferred", "WorkMoved",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadGained(Event):
    """A candidate of this process leads."""

    name = "hardening.lead.gained"
    election: str  #: its name
    candidate: str  #: who leads now
    fence: int  #: the number of this lead; higher than that of any before


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadEnded(Event):
    """A candidate of this process leads no more."""

    name = "hardening.lead.ended"
    election: str  #: its name
    candidate: str  #: who led
    fence: int  #: the number of the lead that is over
    why: str  #: ``resigned``, ``expired`` (by its own clock) or ``taken`` (another leads)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadNotAsked(Event):
    """A candidate could not ask Redis; it tries again."""

    name = "hardening.lead.not_asked"
    is_alarming = True
    election: str  #: its name
    candidate: str  #: who asked
    error: str  #: what Redis, or the way to it, answered


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadTellFailed(Event):
    """What was to be called when a lead was gained or lost has raised."""

    name = "hardening.lead.tell_failed"
    is_alarming = True
    election: str  #: its name
    error: str  #: what was raised


@dataclass(frozen=True, slots=True, kw_only=True)
class BarrierFailed(Event):
    """A barrier at which this process waited is broken."""

    name = "hardening.barrier.failed"
    is_alarming = True
    barrier: str  #: its name
    generation: int  #: which meeting
    came: int  #: how many had come
    parties: int  #: how many were to come
    why: str  #: as in ``BarrierBroken``


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantReaped(Event):
    """A permit or a resource that this process held is not its any more: its lease had run out."""

    name = "hardening.grant.reaped"
    is_alarming = True
    lot: str  #: of which semaphore or pool
    fence: int  #: the number of the grant


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantsNotRenewed(Event):
    """Leases of permits or resources could not be renewed; it is tried again until they run out."""

    name = "hardening.grant.renew_failed"
    is_alarming = True
    grants: int  #: how many
    error: str  #: what Redis, or the way to it, answered


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkMoved(Event):
    """A piece of work was taken back from an agent that is gone, to be given to another."""

    name = "hardening.work.moved"
    job: str  #: its name
    number: int  #: which piece
    agent: str  #: who had it


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDeferred(Event):
    """An agent did not answer in time, or is not asked just now: the request waits in its mailbox."""

    name = "hardening.request.deferred"
    agent: str  #: who was to answer
    handler: str  #: what it was asked
    receipt: str  #: of the message
    why: str  #: why nobody waits for an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBuried(Event):
    """Too many requests to one agent wait in this process: one more is a dead letter."""

    name = "hardening.request.buried"
    is_alarming = True
    agent: str  #: who was to be asked
    handler: str  #: what
    letter: str  #: the dead letter; empty: Redis did not take it
