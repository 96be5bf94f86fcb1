"""The keys of leads, barriers, semaphores and pools; :mod:`hardening.core.keys` has the table of all."""

from __future__ import annotations

__all__ = ["CoordinationKeys"]


class CoordinationKeys:
    """A part of :class:`~hardening.core.keys.Keys`, which has the prefix.

    Names are users' and come last, so that no key can be taken for another. A *lot* is all permits of a semaphore, or
    all resources of a pool: ``semaphore:<name>``, ``pool:<name>``.
    """

    __slots__ = ()
    prefix: str

    @property
    def fence(self) -> str:
        """The last fence number given out to leads, permits and resources."""
        return f"{self.prefix}:fence"

    def election(self, election: str) -> str:
        """Who leads."""
        return f"{self.prefix}:election:{election}"

    def vacancy(self, election: str) -> str:
        """Wakes one who stands by."""
        return f"{self.prefix}:vacancy:{election}"

    def barrier(self, barrier: str) -> str:
        """A barrier."""
        return f"{self.prefix}:barrier:at:{barrier}"

    def barrier_parties(self, generation: int, barrier: str) -> str:
        """Who has come."""
        return f"{self.prefix}:barrier:parties:{generation}:{barrier}"

    def barrier_over(self, generation: int, barrier: str) -> str:
        """How a generation ended."""
        return f"{self.prefix}:barrier:over:{generation}:{barrier}"

    def granted(self, lot: str) -> str:
        """The leases of those who hold something of a lot."""
        return f"{self.prefix}:granted:{lot}"

    def grants(self, lot: str) -> str:
        """What they hold."""
        return f"{self.prefix}:grants:{lot}"

    def waiters(self, lot: str) -> str:
        """Who waits, in order."""
        return f"{self.prefix}:waiters:{lot}"

    def waiting(self, lot: str) -> str:
        """The leases of those who wait."""
        return f"{self.prefix}:waiting:{lot}"

    def grant_bell(self, grant: str) -> str:
        """Wakes one who waits."""
        return f"{self.prefix}:grant:bell:{grant}"
