"""Circuit breakers that all workers share through Redis: see :class:`hardening.breaker.shared.Breaker`."""

from __future__ import annotations

from hardening.breaker.errors import CircuitOpen
from hardening.breaker.shared import Breaker

__all__ = ["Breaker", "CircuitOpen"]
