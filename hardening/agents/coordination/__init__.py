"""Processes, and agents, that act together: leaders, barriers, semaphores, pools, votes, work, auctions."""

from __future__ import annotations

from hardening.agents.coordination.barriers import Barrier, barrier
from hardening.agents.coordination.election import Election, elect_leader
from hardening.agents.coordination.errors import (
    BarrierBroken,
    BarrierMismatch,
    CoordinationError,
    GrantLost,
    LeadLost,
    ResourceTimeout,
)
from hardening.agents.coordination.leases import GrantLease
from hardening.agents.coordination.pools import Pool, resource_pool, semaphore

__all__ = [
    "Barrier",
    "BarrierBroken",
    "BarrierMismatch",
    "CoordinationError",
    "Election",
    "GrantLease",
    "GrantLost",
    "LeadLost",
    "Pool",
    "ResourceTimeout",
    "barrier",
    "elect_leader",
    "resource_pool",
    "semaphore",
]
