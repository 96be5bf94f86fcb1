"""Who gets the next piece of work; pure arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["Placer", "WorkStrategy"]

#: ``round_robin``: one after the other. ``least_loaded``: whoever has fewest messages waiting. ``capability``: of those
#: who can do it, whoever has been given least.
WorkStrategy = Literal["round_robin", "least_loaded", "capability"]


class Placer:
    """Places pieces of work.

    Args:
        strategy: which.
        agents: in order; of equals the first is chosen.
        loads: for ``least_loaded``, how many messages wait for each before anything is placed.
        capabilities: for ``capability``, what each can do.

    Raises:
        ValueError: there is no such strategy.
    """

    def __init__(
        self,
        strategy: WorkStrategy,
        agents: Sequence[str],
        *,
        loads: Mapping[str, int] | None = None,
        capabilities: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        if strategy not in get_args(WorkStrategy):
            raise ValueError(f"strategy is {strategy!r}, expected one of: {', '.join(get_args(WorkStrategy))}")
        self._strategy = strategy
        self._agents = agents
        self._loads = {name: (loads or {}).get(name, 0) for name in agents}
        self._can = {name: frozenset((capabilities or {}).get(name, ())) for name in agents}
        self._turn = 0

    def is_fit(self, needs: Collection[str]) -> bool:
        """Whether anybody could do it, were they there."""
        return self._strategy != "capability" or any(can.issuperset(needs) for can in self._can.values())

    def place(self, needs: Collection[str], among: Collection[str]) -> str | None:
        """Chooses; None: nobody can have it now.

        Args:
            needs: for ``capability``, what whoever gets it must be able to do.
            among: who may be chosen.
        """
        if self._strategy == "round_robin":
            return self._next(among)
        able = [name for name in self._agents if name in among]
        if self._strategy == "capability":
            able = [name for name in able if self._can[name].issuperset(needs)]
        chosen = min(able, key=self._loads.__getitem__, default=None)
        if chosen is not None:
            self._loads[chosen] += 1
        return chosen

    def _next(self, among: Collection[str]) -> str | None:
        for _ in self._agents:
            name = self._agents[self._turn]
            self._turn = (self._turn + 1) % len(self._agents)
            if name in among:
                return name
        return None
