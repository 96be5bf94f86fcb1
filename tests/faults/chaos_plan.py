"""What a round of the long fault test will do, drawn from a seed before it begins."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

__all__ = ["KILLS_A_ROUND", "Crew", "Kind", "Planned", "RoundPlan"]

#: Kills of a full round.
KILLS_A_ROUND = 10
_POOLS = {"prefork": (2,), "threads": (2, 4), "solo": (1,)}


class Kind(StrEnum):
    """What can happen to a worker. The last three happen by themselves."""

    KILL = "kill"
    KILL_CHILD = "kill child"
    FREEZE = "freeze"
    WARM = "warm restart"
    COLD = "cold restart"
    CUT = "cut"
    SWALLOW = "swallow"
    REDIS = "redis restart"
    #: A task killed its worker, or a child of it.
    POISON = "poison"
    #: A worker lost its lease though nothing was done to it: the machine was too busy.
    LAPSE = "lapse"
    #: A worker died though nothing was done to it.
    CRASH = "crash"

    @property
    def is_kill(self) -> bool:
        """Whether it counts among the kills that were asked for."""
        return self in (Kind.KILL, Kind.KILL_CHILD)


#: What is done besides killing.
_GENTLE = (Kind.FREEZE, Kind.WARM, Kind.COLD, Kind.CUT, Kind.SWALLOW)


@dataclass(frozen=True, slots=True)
class Crew:
    """A worker to be: its pool and how many tasks it runs at once."""

    pool: str
    concurrency: int

    def __str__(self) -> str:
        return f"{self.pool}:{self.concurrency}"


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault to come.

    Attributes:
        kind: what is done.
        gap_s: how long after the one before.
        pick: from 0 to 1: which of those who may be hit.
        extent: from 0 to 1: how long it lasts, or how much of the worker it hits.
    """

    kind: Kind
    gap_s: float
    pick: float
    extent: float


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """One round.

    Attributes:
        number: from 1.
        seed: of everything else in it.
        aof: whether the broker keeps an append-only file, and is itself killed.
        crews: the workers.
        faults: in order.
        poison: after how many messages one is sent that kills, by what it kills.
    """

    number: int
    seed: str
    aof: bool
    crews: tuple[Crew, ...]
    faults: tuple[Planned, ...]
    poison: dict[int, str]

    @classmethod
    def draw(cls, seed: int, number: int, *, kills: int, pools: tuple[str, ...], stock: bool = False) -> Self:
        """Draws a round. The same arguments always give the same one.

        Args:
            seed: of the whole run.
            number: of the round.
            kills: how many kills are still asked for.
            pools: which pools workers may have.
            stock: only kills, and no poison: plain Celery would run it for ever.
        """
        named = f"{seed}/{number}"
        chance = random.Random(named)
        aof = number % 2 == 0 and not stock
        crews = tuple(_crew(chance, pools) for _ in range(chance.randint(2, 3)))
        kinds = [_kill(chance, crews) for _ in range(min(kills, KILLS_A_ROUND))]
        if not stock:
            kinds += chance.choices(_GENTLE, k=7) + [Kind.REDIS] * (chance.randint(1, 2) if aof else 0)
        chance.shuffle(kinds)
        faults = tuple(Planned(kind, chance.uniform(0.5, 2.0), chance.random(), chance.random()) for kind in kinds)
        poison = {} if stock else {chance.randint(50, 300): chance.choice(("kill_child", "kill_worker"))}
        return cls(number, named, aof, crews, faults, poison if chance.random() < 2 / 3 else {})

    @property
    def kills(self) -> int:
        """How many of its faults are kills."""
        return sum(fault.kind.is_kill for fault in self.faults)


def _crew(chance: random.Random, pools: tuple[str, ...]) -> Crew:
    pool = chance.choice(pools)
    return Crew(pool, chance.choice(_POOLS[pool]))


def _kill(chance: random.Random, crews: tuple[Crew, ...]) -> Kind:
    has_children = any(crew.pool == "prefork" for crew in crews)
    return Kind.KILL_CHILD if has_children and chance.random() < 0.3 else Kind.KILL
