"""The keys of the scheduler manager; :mod:`hardening.core.keys` has the table of all."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BeatKeys"]


@dataclass(frozen=True, slots=True)
class BeatKeys:
    """What begins with ``{p}:beat``.

    Args:
        prefix: what every key begins with.
    """

    prefix: str = "hardening"

    @property
    def beat_leader(self) -> str:
        """The beat that leads."""
        return f"{self.prefix}:beat:leader"

    @property
    def beat_fence(self) -> str:
        """The last fence number given out."""
        return f"{self.prefix}:beat:fence"

    @property
    def beat_ticks(self) -> str:
        """When each beat last ticked."""
        return f"{self.prefix}:beat:ticks"

    @property
    def beat_names(self) -> str:
        """The names of all schedule entries."""
        return f"{self.prefix}:beat:names"

    @property
    def beat_due(self) -> str:
        """When a beat must look at which entry."""
        return f"{self.prefix}:beat:due"

    def beat_entry(self, entry: str) -> str:
        """One schedule entry."""
        return f"{self.prefix}:beat:entry:{entry}"

    def beat_history(self, entry: str) -> str:
        """The last slots of an entry."""
        return f"{self.prefix}:beat:history:{entry}"

    @property
    def beat_declared(self) -> str:
        """What code and files declare, as a digest."""
        return f"{self.prefix}:beat:declared"

    def beat_owner(self, owner: str) -> str:
        """Whether the owner of periodic messages lives."""
        return f"{self.prefix}:beat:owner:{owner}"

    @property
    def beat_bell(self) -> str:
        """Wakes the beat that leads."""
        return f"{self.prefix}:beat:bell"

    @property
    def beat_vacancy(self) -> str:
        """Wakes a beat that stands by."""
        return f"{self.prefix}:beat:vacancy"
