"""What leads, barriers, semaphores and pools ask of Redis, one typed function for each script. Times are in ms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardening.core.keys import Keys

__all__ = ["Claim", "Elected", "Granted", "Met", "elect", "give_back", "grant", "meet", "renew_grants", "resign_lead"]


class Elected(NamedTuple):
    """What a candidate is told.

    Attributes:
        token: who leads, with its fence number.
        left_ms: how long the lease of another leader lasts; -1: the candidate itself leads.
    """

    token: str
    left_ms: int

    @property
    def fence(self) -> int:
        """The fence number of the candidate's lead; 0: another leads."""
        return int(self.token.partition(" ")[0]) if self.left_ms < 0 else 0

    @staticmethod
    def parse(reply: list[Any]) -> Elected:
        """Reads the reply of an election."""
        return Elected(reply[0].decode("utf-8", "replace"), reply[1])


class Met(NamedTuple):
    """What a party at a barrier is told.

    Attributes:
        generation: which meeting it is.
        came: how many have come.
        outcome: ``released``, or why it is broken; empty: it goes on.
        parties: how many are to come.
    """

    generation: int
    came: int
    outcome: str
    parties: int

    @staticmethod
    def parse(reply: list[Any]) -> Met:
        """Reads the reply of a meeting."""
        generation, came, outcome, parties = reply
        return Met(generation, came, outcome.decode("utf-8", "replace"), parties)


class Granted(NamedTuple):
    """What is told to who asks for a permit or a resource.

    Attributes:
        fence: the number of the grant; 0: none, it must wait.
        resource: which one; empty: a permit.
        left_ms: when none is free: until the next lease of a holder runs out; -1: there is none.
        ahead: how many wait in front.
    """

    fence: int
    resource: str = ""
    left_ms: int = -1
    ahead: int = 0

    @staticmethod
    def parse(reply: list[Any]) -> Granted:
        """Reads the reply of a grant."""
        if reply[0]:
            return Granted(reply[0], reply[1].decode("utf-8", "replace"))
        return Granted(0, "", reply[1], reply[2])


class Claim(NamedTuple):
    """A permit, or a resource, of a lot, under the name by which it is asked for, held and given back."""

    lot: str
    grant: str
    ttl_ms: int


def elect(keys: Keys, election: str, candidate: str, ttl_ms: int) -> Call:
    """Takes or renews a lead. Reply: see :class:`Elected`."""
    return Call(_ELECT, (keys.election(election), keys.fence, keys.vacancy(election)), (candidate, ttl_ms))


def resign_lead(keys: Keys, election: str, token: str) -> Call:
    """Gives a lead away. Reply: 1, or 0 when it was another's."""
    return Call(_RESIGN_LEAD, (keys.election(election), keys.vacancy(election)), (token,))


def meet(
    keys: Keys, barrier: str, party: str, parties: int, *, generation: int | None, lease_ms: int, keep_ms: int,
    why: str = "",
) -> Call:  # fmt: skip
    """Comes to a barrier (without a generation), waits on, or breaks it. Reply: see :class:`Met`."""
    known = "" if generation is None else str(generation)
    args: tuple[str | int, ...] = (keys.prefix, barrier, party, parties, known, lease_ms, keep_ms, why)
    return Call(_MEET, (keys.barrier(barrier),), args)


def grant(keys: Keys, claim: Claim, *, patience_ms: int, permits: int, resources: Sequence[str] = ()) -> Call:
    """Asks for a permit or a resource. Reply: see :class:`Granted`."""
    args: tuple[str | int, ...] = (keys.prefix, claim.grant, claim.ttl_ms, patience_ms, permits, *resources)
    return Call(_GRANT, (*_line(keys, claim.lot), keys.fence), args)


def renew_grants(keys: Keys, claims: Sequence[Claim]) -> Call:
    """Renews leases. Reply: for each 1, or 0 when it was taken away."""
    held = [key for one in claims for key in (keys.granted(one.lot), keys.grants(one.lot))]
    return Call(_RENEW_GRANTS, held, [part for one in claims for part in (one.grant, one.ttl_ms)])


def give_back(keys: Keys, claim: Claim) -> Call:
    """Gives back, or leaves the line. Reply: 1, or 0 when nothing was held."""
    fixed = (*_line(keys, claim.lot), keys.grant_bell(claim.grant))
    return Call(_GIVE_BACK, fixed, (keys.prefix, claim.grant))


def _line(keys: Keys, lot: str) -> tuple[str, ...]:
    return (keys.granted(lot), keys.grants(lot), keys.waiters(lot), keys.waiting(lot))


_ELECT = Script.load("elect")
_RESIGN_LEAD = Script.load("resign_lead")
_MEET = Script.load("meet")
_GRANT = Script.load("grant")
_RENEW_GRANTS = Script.load("renew_grants")
_GIVE_BACK = Script.load("give_back")
