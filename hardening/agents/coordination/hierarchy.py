"""A tree of agents, told level by level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardening.agents.coordination.bench import bench_of
from hardening.agents.coordination.names import checked_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from celery import Celery

    from hardening.agents.coordination.bench import Bench
    from hardening.delivery import BroadcastResult
    from hardening.delivery.terms import Confirm

    Tree = Mapping[str, "Tree"] | Sequence[str]

__all__ = ["Hierarchy", "HierarchyResult", "hierarchy"]


@dataclass(frozen=True, slots=True)
class HierarchyResult:
    """What became of each level's messages, the top first. A sequence of results.

    Attributes:
        levels: of each level what ``broadcast`` says.
    """

    levels: tuple[BroadcastResult, ...]

    @property
    def ok(self) -> bool:
        """Whether all of all levels got as far as was asked."""
        return all(not level.failed for level in self.levels)

    def __len__(self) -> int:
        return len(self.levels)

    def __iter__(self) -> Iterator[BroadcastResult]:
        return iter(self.levels)

    def __getitem__(self, level: int) -> BroadcastResult:
        return self.levels[level]


class Hierarchy:
    """A tree of agents; made by :func:`hierarchy`.

    Attributes:
        levels: the names on each level, the top first.
    """

    def __init__(self, tree: Tree) -> None:
        self._above: dict[str, str] = {}
        levels: dict[int, list[str]] = {}
        self._walk(tree, "", 0, levels)
        self.levels = tuple(tuple(names) for _, names in sorted(levels.items()))
        if not self.levels:
            raise ValueError("a hierarchy is empty, expected at least one agent")

    def _walk(self, tree: Tree, above: str, level: int, levels: dict[int, list[str]]) -> None:
        if isinstance(tree, str):
            where = repr(above) if above else "the top"
            raise ValueError(f"under {where} is {tree!r}, expected a list of names, or a mapping")
        for name in tree:
            if name in self._above:
                raise ValueError(f"agent {name!r} stands twice in the hierarchy")
            self._above[name] = above
            levels.setdefault(level, []).append(name)
            below: Any = tree[name] if hasattr(tree, "keys") else ()  # type: ignore[call-overload]
            self._walk(below or (), name, level + 1, levels)

    def above(self, name: str) -> str | None:
        """Who stands directly over an agent; None: nobody.

        Raises:
            KeyError: there is no such agent in it.
        """
        return self._above[name] or None

    def below(self, name: str) -> tuple[str, ...]:
        """Who stands directly under an agent, in order.

        Raises:
            KeyError: there is no such agent in it.
        """
        if name not in self._above:
            raise KeyError(name)
        return tuple(one for one, above in self._above.items() if above == name)

    def broadcast(
        self,
        handler: str,
        /,
        *args: Any,
        confirm: Confirm = "queued",
        timeout: float = 5.0,
        bench: Bench | None = None,
        app: Celery | None = None,
    ) -> HierarchyResult:
        """Tells every agent, level by level: the next level is told when this one has confirmed, or its time is over.

        ``best_effort``: who cannot be told holds up nobody else, and is in the result of its level.

        Args:
            handler: what they are told.
            *args: for it, JSON.
            confirm: how far a message must get before the next level is told, as for ``supervised_send``.
            timeout: for each level, in seconds.
            bench: how agents are reached; default: as those of the app.
            app: a hardened app; default: the current one.

        Raises:
            ConfigError: the app is not hardened.
            ValueError: an argument that makes no sense.
            kombu.exceptions.EncodeError: the arguments are not JSON.
        """
        reached, timeout_s = bench or bench_of(app), checked_s(timeout, "timeout")
        return HierarchyResult(tuple(reached.spread(names, handler, args, confirm, timeout_s) for names in self.levels))


def hierarchy(tree: Tree) -> Hierarchy:
    """A tree of agents, as nested mappings of names; the lowest level may be lists.

    ``hierarchy({"chief": {"north": ["n1", "n2"], "south": ["s1"]}})``

    Raises:
        ValueError: it is empty, or a name stands twice in it.
    """
    return Hierarchy(tree)
