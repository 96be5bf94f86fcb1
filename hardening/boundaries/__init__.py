"""Where our own code ends: expected failures of others become one kind of error; everything else crashes."""

from __future__ import annotations

from hardening.boundaries.boundary import (
    Boundary,
    database_boundary,
    json_boundary,
    network_boundary,
    redis_boundary,
)
from hardening.boundaries.budget import RetryBudget
from hardening.boundaries.errors import BoundaryError, IsolationError
from hardening.boundaries.fallback import Outcome, protect
from hardening.boundaries.isolation import isolate
from hardening.boundaries.retry import RetryStrategy

__all__ = [
    "Boundary",
    "BoundaryError",
    "IsolationError",
    "Outcome",
    "RetryBudget",
    "RetryStrategy",
    "database_boundary",
    "isolate",
    "json_boundary",
    "network_boundary",
    "protect",
    "redis_boundary",
]
