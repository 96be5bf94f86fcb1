"""What happens to workflows, as events; see :mod:`hardening.core.telemetry`. They may be told again after a crash."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = ["WorkflowEnded", "WorkflowStepReassigned", "WorkflowStepStalled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStepStalled(Event):
    """A step takes longer than it may."""

    name = "hardening.workflow.stalled"
    is_alarming = True
    workflow: str  #: its id
    step: str  #: which
    agent: str  #: who has it
    since_s: float  #: for how long, in seconds
    policy: str  #: what follows: ``reassign``, ``fail`` or ``report``


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStepReassigned(Event):
    """A step was given to another agent, or to the same one again."""

    name = "hardening.workflow.reassigned"
    workflow: str  #: its id
    step: str  #: which
    agent: str  #: who has it now
    attempt: int  #: the number of the attempt
    why: str  #: what became of the attempt before


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowEnded(Event):
    """A workflow has ended."""

    name = "hardening.workflow.ended"
    workflow: str  #: its id
    status: str  #: ``completed``, ``failed`` or ``cancelled``
    why: str  #: why it failed; empty: it did not
    took_s: float  #: how long it took, in seconds
