"""What one publication costs the process that makes it."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks.app import make_app, noop_of
from benchmarks.row import Row, Target
from benchmarks.sample import Sample
from benchmarks.side import Side, orders

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.stage import Stage

__all__ = ["ABOUT", "Publisher", "measure"]

ABOUT = (
    "Time per call in a warmed-up process, four processes in turn; wall: as the caller waits, "
    "CPU: of the caller alone. The supervised send and send_many, per message, are set against stock delay(), for "
    "stock has no receipts and sends one by one."
)

_STOCK, _HARDENED, _SUPERVISED, _MANY = "stock", "hardened", "supervised", "many"
_WAYS = (_STOCK, _HARDENED, _SUPERVISED, _MANY)
_WARM_UP = 300


class Publisher:
    """Publishes one task again and again.

    Args:
        way: stock or hardened ``delay()``, ``supervised_send(confirm="queued")``, or ``send_many``.
        url: of the broker.
    """

    def __init__(self, *, way: str, url: str) -> None:
        task = noop_of(make_app(url, Side.STOCK if way == _STOCK else Side.HARDENED))
        self._publish: Callable[[int], object] = lambda calls: [task.delay() for _ in range(calls)]
        if way in (_SUPERVISED, _MANY):
            from hardening import send_many, supervised_send  # noqa: PLC0415 - stock must not pay for it

            self._publish = lambda calls: [supervised_send(task, confirm="queued") for _ in range(calls)]
            if way == _MANY:
                self._publish = lambda calls: send_many(task, (() for _ in range(calls)))
        self(calls=_WARM_UP)

    def __call__(self, *, calls: int) -> tuple[float, float]:
        """Wall and CPU time for each call, in microseconds."""
        publish = self._publish
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        publish(calls)
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        return wall_s / calls * 1e6, cpu_s / calls * 1e6


def measure(stage: Stage) -> list[Row]:
    """Lets three processes take turns; every round begins with new ones."""
    rounds = stage.rounds(full=7, quick=3)
    walls: dict[str, list[float]] = {way: [] for way in _WAYS}
    cpus: dict[str, list[float]] = {way: [] for way in _WAYS}
    for number, order in enumerate(orders(rounds, _WAYS), 1):
        stage.tell(f"round {number} of {rounds}")
        for way, turns in _round(stage, order).items():
            walls[way].append(statistics.median(wall for wall, _ in turns))
            cpus[way].append(statistics.median(cpu for _, cpu in turns))
    return [
        _row("delay(), wall", walls, _HARDENED, Target.ratio_at_most(0.8)),
        _row("delay(), CPU", cpus, _HARDENED, Target.ratio_at_most(0.8)),
        _row("supervised, wall", walls, _SUPERVISED, Target.ratio_at_most(0.5)),
        _row("supervised, CPU", cpus, _SUPERVISED, Target.ratio_at_most(0.5)),
        _row("send_many, per message, wall", walls, _MANY, Target.ratio_at_most(0.1)),
        _row("send_many, per message, CPU", cpus, _MANY, Target.ratio_at_most(0.1)),
    ]


def _round(stage: Stage, order: tuple[str, ...]) -> dict[str, list[tuple[float, float]]]:
    calls, repeats = stage.pick(250, 100), stage.pick(20, 10)
    turns: dict[str, list[tuple[float, float]]] = {way: [] for way in order}
    with ExitStack() as stack:
        children = {}
        for way in order:
            server = stack.enter_context(stage.redis())
            child = stage.child("benchmarks.publish:Publisher", server, way=way)
            children[way] = stack.enter_context(child)
        for turn in orders(repeats, order):
            for way in turn:
                wall_us, cpu_us = children[way].ask(calls=calls)
                turns[way].append((wall_us, cpu_us))
    return turns


def _row(name: str, times: dict[str, list[float]], way: str, target: Target) -> Row:
    return Row(name=name, unit="us", stock=Sample.of(times[_STOCK]), hardened=Sample.of(times[way]), target=target)
