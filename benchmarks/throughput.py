"""How many tasks that do nothing one worker gets through."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.app import QUEUE
from benchmarks.mint import Mint, fill
from benchmarks.patience import until
from benchmarks.row import Row, Target
from benchmarks.sample import Sample
from benchmarks.side import Side, orders

if TYPE_CHECKING:
    from redis import Redis

    from benchmarks.stage import Stage
    from benchmarks.worker import Worker

__all__ = ["ABOUT", "measure"]

ABOUT = (
    "No-op tasks per second of one worker with worker_prefetch_multiplier 16, from a full queue, timed from 5 % to "
    "95 % drained. Stock has task_acks_late and task_reject_on_worker_lost, as its documentation recommends for "
    "tasks that must not be lost; it gets a shorter queue, so that both sides take about as long."
)

#: How long to wait for one percentage of the queue, in seconds.
_PATIENCE_S = 90.0


class _Pool(NamedTuple):
    name: str
    concurrency: int
    stock: int
    hardened: int
    target: float


#: The pools, and how many messages each side is given.
_POOLS = (
    _Pool("solo", 1, 6_000, 36_000, 4.0),
    _Pool("threads", 4, 6_000, 30_000, 4.0),
    _Pool("prefork", 2, 6_000, 15_000, 2.0),
)
#: A quick run is given a fraction of them.
_QUICK = 6


def measure(stage: Stage) -> list[Row]:
    """Lets both sides drain a queue in turn, pool by pool, round by round."""
    rounds = stage.rounds(full=5, quick=3)
    rates: dict[tuple[str, Side], list[float]] = defaultdict(list)
    for number, order in enumerate(orders(rounds, tuple(Side)), 1):
        for pool in _POOLS:
            for side in order:
                stage.tell(f"round {number} of {rounds}: {pool.name}, {side}")
                rates[pool.name, side].append(_rate(stage, pool, side))
    return [
        Row(
            name=f"{pool.name} -c {pool.concurrency}",
            unit="/s",
            stock=Sample.of(rates[pool.name, Side.STOCK]),
            hardened=Sample.of(rates[pool.name, Side.HARDENED]),
            target=Target.ratio_at_least(pool.target),
        )
        for pool in _POOLS
    ]


def _rate(stage: Stage, pool: _Pool, side: Side) -> float:
    total = (pool.stock if side is Side.STOCK else pool.hardened) // stage.pick(1, _QUICK)
    with stage.redis() as server:
        fill(server.client, Mint.of(side, server.url, server.client).copies(total))
        with stage.worker(server, side, pool=pool.name, concurrency=pool.concurrency) as worker:
            begin_s, first = _fallen_to(server.client, worker, total * 95 // 100)
            end_s, last = _fallen_to(server.client, worker, total * 5 // 100)
    return (first - last) / (end_s - begin_s)


def _fallen_to(client: Redis, worker: Worker, left: int) -> tuple[float, int]:
    """When no more than so many messages were left, and how many there were."""
    seen = (0.0, 0)

    def is_there() -> bool:
        nonlocal seen
        waiting: int = client.llen(QUEUE)
        seen = (time.perf_counter(), waiting)
        worker.check()
        return waiting <= left

    until(is_there, f"the queue to fall to {left:,} messages", timeout_s=_PATIENCE_S)
    return seen
