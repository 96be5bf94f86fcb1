"""Errors of coordination; a branch of the tree that :mod:`hardening.core.errors` draws.

::

    CoordinationError          something about processes, or agents, that act together
    ├── LeadLost               this candidate does not lead, or no longer
    ├── BarrierBroken          not all parties of a barrier came and stayed
    ├── BarrierMismatch        parties of one barrier do not agree how many they are
    ├── ResourceTimeout        no permit, or no resource, was free in time
    ├── GrantLost              a permit or a resource was taken away, for its lease ran out
    └── RequestsFull           too many requests to one agent wait in this process
"""

from __future__ import annotations

from hardening.core.root_error import HardeningError

__all__ = [
    "BarrierBroken", "BarrierMismatch", "CoordinationError", "GrantLost", "LeadLost", "RequestsFull", "ResourceTimeout",
]  # fmt: skip


class CoordinationError(HardeningError):
    """Something about processes, or agents, that act together."""


class LeadLost(CoordinationError):
    """This candidate does not lead, or no longer: another may.

    Attributes:
        election: its name.
        candidate: who asked.
    """

    def __init__(self, election: str, candidate: str) -> None:
        self.election = election
        self.candidate = candidate
        super().__init__(f"{candidate} does not lead {election!r}: do nothing in its name")


class BarrierBroken(CoordinationError):
    """Not all parties of a barrier came and stayed; whoever comes now begins the next generation.

    Attributes:
        barrier: its name.
        generation: which meeting it was.
        came: how many had come when it broke, the one that broke it among them; 0: nobody knows any more.
        parties: how many were to come.
        why: ``timeout``: one waited no longer. ``died``: the lease of one ran out. ``left``: one was interrupted.
            ``aborted``: somebody broke it. ``unreachable``: Redis could not be asked, so this party gave up.
            ``forgotten``: Redis does not know of it any more.
    """

    def __init__(self, barrier: str, generation: int, came: int, parties: int, why: str) -> None:
        self.barrier = barrier
        self.generation = generation
        self.came = came
        self.parties = parties
        self.why = why
        super().__init__(f"the barrier {barrier!r} is broken ({why}): {came} of {parties} parties had come")


class BarrierMismatch(CoordinationError):
    """Parties of one barrier do not agree how many they are; this one did not join.

    Attributes:
        barrier: its name.
        parties: how many this one expects.
        others: how many those who wait expect.
    """

    def __init__(self, barrier: str, parties: int, others: int) -> None:
        self.barrier = barrier
        self.parties = parties
        self.others = others
        super().__init__(f"the barrier {barrier!r} is for {others} parties, as those say who wait there, not {parties}")


class ResourceTimeout(CoordinationError):
    """No permit, or no resource, was free in time.

    Attributes:
        lot: of which semaphore or pool.
        timeout_s: how long it was waited for, in seconds.
        ahead: how many waited in front when it was given up.
    """

    def __init__(self, lot: str, timeout_s: float, ahead: int) -> None:
        self.lot = lot
        self.timeout_s = timeout_s
        self.ahead = ahead
        super().__init__(f"nothing of {lot} was free within {timeout_s:g} s, {ahead} waited in front")


class GrantLost(CoordinationError):
    """A permit or a resource is not held, or no longer: its lease ran out, or it was given back.

    Attributes:
        lot: of which semaphore or pool.
        fence: the number of the grant.
    """

    def __init__(self, lot: str, fence: int) -> None:
        self.lot = lot
        self.fence = fence
        super().__init__(f"grant {fence} of {lot} is not held any more: another may have it")


class RequestsFull(CoordinationError):
    """Too many requests to one agent wait in this process; this one is a dead letter, and may be replayed.

    Attributes:
        agent: its name.
        bound: how many may wait.
        letter: the id of the dead letter; empty: Redis did not take it, so it is nowhere.
    """

    def __init__(self, agent: str, bound: int, letter: str) -> None:
        self.agent = agent
        self.bound = bound
        self.letter = letter
        where = f"this one is dead letter {letter}" if letter else "this one is nowhere, for Redis did not take it"
        super().__init__(f"{bound} requests to agent {agent} wait here already; {where}")
