"""What happens at boundaries, as events; see :mod:`hardening.core.telemetry`."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = ["BoundaryFellBack", "BoundaryRetried", "RetryRefused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryFellBack(Event):
    """What is behind a boundary failed, and a fallback took its place."""

    name = "hardening.boundary.fell_back"
    is_alarming = True
    category: str  #: of the boundary
    retryable: bool  #: whether it may be over in a moment
    error: str  #: what was raised


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryRetried(Event):
    """A call failed in a way that may be over in a moment, and will be tried again."""

    name = "hardening.boundary.retried"
    category: str  #: of the boundary
    attempt: int  #: how often it was tried until now
    pause_s: float  #: how long until the next attempt
    error: str  #: what was raised


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRefused(Event):
    """A call was not tried again, for there have been too many retries in this process."""

    name = "hardening.retry.refused"
    is_alarming = True
    category: str  #: of the boundary
    error: str  #: what was raised
