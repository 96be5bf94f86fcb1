"""Who can do what, and who is to do it: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["MOST_CAPABILITIES", "MOST_GIVEN", "MOST_MEMBERS", "Crew"]

#: How many agents there are at most, how many things one can do, and how many steps it is given at a time.
MOST_MEMBERS, MOST_CAPABILITIES, MOST_GIVEN = 1000, 100, 100


class Crew(BaseModel):
    """Agents and their capabilities.

    Attributes:
        members: the capabilities of each, by its name.
    """

    model_config = ConfigDict(extra="forbid")

    members: dict[str, list[str]] = {}

    def enlist(self, name: str, capabilities: Iterable[str]) -> None:
        """Makes an agent a member, with these capabilities alone.

        Raises:
            ValueError: there are too many.
        """
        known = sorted(set(capabilities))
        if len(known) > MOST_CAPABILITIES:
            raise ValueError(f"{name} has {len(known)} capabilities, expected {MOST_CAPABILITIES} at most")
        if name not in self.members and len(self.members) >= MOST_MEMBERS:
            raise ValueError(f"{MOST_MEMBERS} agents are registered, which is all: unregister those that are gone")
        self.members[name] = known

    def capable(self, capability: str) -> list[str]:
        """Who can do something, by name."""
        return sorted(name for name, known in self.members.items() if capability in known)

    def choose(
        self, capability: str, able: Collection[str], load: Counter[str], tried: Sequence[str] = ()
    ) -> str | None:
        """Who is to do something: of those who are able, who has tried it least often, and has the least to do.

        Args:
            capability: what it takes.
            able: who lives and takes messages.
            load: how many steps each has.
            tried: who was given it before.

        Returns:
            None: nobody can, now.
        """
        fit = [name for name in self.capable(capability) if name in able and load[name] < MOST_GIVEN]
        return min(fit, key=lambda name: (tried.count(name), load[name], name), default=None)
