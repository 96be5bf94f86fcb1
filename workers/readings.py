"""What the monitor agent measures: the machine that it runs on, Redis, and the messages of the deployment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from hardening.cli.census import take_census
from workers.health import Limit
from workers.machine import look_at_machine

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.keys import Keys

__all__ = ["LIMITS", "Before", "take_readings", "time_at"]

#: Over how many looks errors are counted, and of how many messages at least there is a rate.
_LOOKS, _FEWEST = 12, 10
#: When something is bad, if nobody says otherwise.
LIMITS = {
    "cpu": Limit(resolve=0.85, raise_at=0.95, for_looks=6),
    "memory": Limit(resolve=0.85, raise_at=0.92),
    "disk": Limit(resolve=0.85, raise_at=0.92),
    "redis_memory": Limit(resolve=0.75, raise_at=0.85),
    "redis_latency_s": Limit(resolve=0.05, raise_at=0.25),
    "queue_depth": Limit(resolve=5_000, raise_at=10_000),
    "error_rate": Limit(resolve=0.05, raise_at=0.2),
    "latency_s": Limit(resolve=5, raise_at=15),
    "dead_workers": Limit(resolve=0, raise_at=1),
}


class Before(BaseModel):
    """What was seen before, of what only counts upwards.

    Attributes:
        boot: of the machine whose processors these are.
        busy: see :class:`workers.machine.MachineLook`.
        total: likewise.
        ended: how many messages were acknowledged, and how many were buried, at each of the last looks.
    """

    boot: str = ""
    busy: int = 0
    total: int = 0
    ended: list[tuple[int, int]] = Field(default_factory=list)


def take_readings(client: Redis, keys: Keys, before: Before, disk: str) -> tuple[dict[str, float], Before, float]:
    """Measures everything. Four round trips.

    Args:
        client: whose replies are bytes.
        keys: of the deployment.
        before: what this returned at the last look.
        disk: a path on the disk that matters.

    Returns:
        The readings, by name, without those that are unknown; what is to be given to it at the next look; and the time
        at Redis, in seconds.

    Raises:
        redis.RedisError: as the client raises it.
    """
    begin_s = time.perf_counter()
    now_s = time_at(client)
    latency_s = time.perf_counter() - begin_s
    machine = look_at_machine(disk)
    census = take_census(client, keys)
    memory: Any = client.info("memory")
    ended = [*before.ended, (census.counters.get("acked", 0), census.counters.get("dead", 0))][-_LOOKS:]
    bound = int(memory.get("maxmemory", 0))
    found = {
        "memory": machine.memory,
        "disk": machine.disk,
        "cpu": _share(before, machine.boot, machine.busy, machine.total),
        "redis_memory": int(memory["used_memory"]) / bound if bound else None,
        "redis_latency_s": latency_s,
        "queue_depth": max((sum(queue.waiting) for queue in census.queues), default=0),
        "error_rate": _error_rate(ended),
        "dead_workers": len(census.dead),
    }
    readings = {name: round(float(value), 6) for name, value in found.items() if value is not None}
    return readings, Before(boot=machine.boot, busy=machine.busy, total=machine.total, ended=ended), now_s


def time_at(client: Redis) -> float:
    """The time at Redis, in seconds.

    Raises:
        redis.RedisError: as the client raises it.
    """
    found: Any = client.time()
    seconds, micros = found
    return float(seconds + micros / 1e6)


def _share(before: Before, boot: str, busy: int, total: int) -> float | None:
    """How busy the processors were since the last look, if that was on this machine."""
    if not boot or boot != before.boot or total <= before.total:
        return None
    return min(1.0, max(0.0, (busy - before.busy) / (total - before.total)))


def _error_rate(ended: list[tuple[int, int]]) -> float:
    """Of the messages that ended, how many are dead letters. Of too few, 0."""
    (acked, dead), (acked_now, dead_now) = ended[0], ended[-1]
    died = max(0, dead_now - dead)
    total = max(0, acked_now - acked) + died
    return died / total if total >= _FEWEST else 0.0
