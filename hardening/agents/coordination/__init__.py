"""Processes, and agents, that act together: leaders, barriers, semaphores, pools, votes, work, auctions."""

from __future__ import annotations

from hardening.agents.coordination.auctions import AuctionResult, auction
from hardening.agents.coordination.barriers import Barrier, barrier
from hardening.agents.coordination.consensus import Decision, consensus
from hardening.agents.coordination.election import Election, elect_leader
from hardening.agents.coordination.errors import (
    BarrierBroken,
    BarrierMismatch,
    CoordinationError,
    GrantLost,
    LeadLost,
    RequestsFull,
    ResourceTimeout,
)
from hardening.agents.coordination.hierarchy import Hierarchy, HierarchyResult, hierarchy
from hardening.agents.coordination.leases import GrantLease
from hardening.agents.coordination.manager import Reply, RequestManager
from hardening.agents.coordination.pools import Pool, resource_pool, semaphore
from hardening.agents.coordination.voting import Vote
from hardening.agents.coordination.work import Piece, PieceStatus, WorkReport, distribute_work

__all__ = [
    "AuctionResult",
    "Barrier",
    "BarrierBroken",
    "BarrierMismatch",
    "CoordinationError",
    "Decision",
    "Election",
    "GrantLease",
    "GrantLost",
    "Hierarchy",
    "HierarchyResult",
    "LeadLost",
    "Piece",
    "PieceStatus",
    "Pool",
    "Reply",
    "RequestManager",
    "RequestsFull",
    "ResourceTimeout",
    "Vote",
    "WorkReport",
    "auction",
    "barrier",
    "consensus",
    "distribute_work",
    "elect_leader",
    "hierarchy",
    "resource_pool",
    "semaphore",
]
