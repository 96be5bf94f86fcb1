"""Whether many queues make taking slow."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from kombu import Consumer, Queue

from benchmarks.mint import Mint, fill
from benchmarks.row import Row
from benchmarks.sample import Sample
from benchmarks.side import Side, orders
from benchmarks.wire import connect

if TYPE_CHECKING:
    from benchmarks.stage import Stage

__all__ = ["ABOUT", "Drainer", "measure"]

ABOUT = (
    "Messages per second that a bare kombu consumer takes and acks (drain_events, prefetch 64), spread evenly over so "
    "many queues; timed from 5 % to 95 %."
)

_PREFETCH = 64
_PATIENCE_S = 120.0


class Drainer:
    """Consumes from many queues and acks.

    Args:
        side: of kombu's transports.
        url: of the broker.
        queues: their names.
    """

    def __init__(self, *, side: str, url: str, queues: list[str]) -> None:
        self._connection = connect(url, Side(side))
        self._acked = 0
        self._consumer = Consumer(
            self._connection.default_channel,
            queues=[Queue(name, no_declare=True) for name in queues],
            on_message=self._ack,
            auto_declare=False,
            prefetch_count=_PREFETCH,
        )

    def _ack(self, message: Any) -> None:
        message.ack()
        self._acked += 1

    def __call__(self, *, messages: int) -> float:
        """Messages per second; there must be so many."""
        marks = []
        self._consumer.consume()
        for share in (5, 95):
            while self._acked < messages * share // 100:
                self._connection.drain_events(timeout=10)
            marks.append((time.perf_counter(), self._acked))
        (begin_s, first), (end_s, last) = marks
        return (last - first) / (end_s - begin_s)


def measure(stage: Stage) -> list[Row]:
    """Lets both sides drain in turn, with ever more queues."""
    rounds, sizes = stage.rounds(full=5, quick=2), (1, 100, 1_000)
    rates: dict[tuple[int, Side], list[float]] = defaultdict(list)
    for number, order in enumerate(orders(rounds, tuple(Side)), 1):
        for size in sizes:
            for side in order:
                stage.tell(f"round {number} of {rounds}: {size:,} queues, {side}")
                rates[size, side].append(_rate(stage, size, side))
    return [
        Row(
            name=f"{size:,} queue{'s' if size > 1 else ''}",
            unit="/s",
            stock=Sample.of(rates[size, Side.STOCK]),
            hardened=Sample.of(rates[size, Side.HARDENED]),
        )
        for size in sizes
    ]


def _rate(stage: Stage, size: int, side: Side) -> float:
    total = stage.pick(3_000, 1_000)
    names = [f"q{number}" for number in range(size)]
    with stage.redis() as server:
        mint = Mint.of(side, server.url, server.client)
        for number, name in enumerate(names):
            fill(server.client, mint.copies(total // size, first=number * total), name)
        with stage.child("benchmarks.queues:Drainer", server, side=side, queues=names) as child:
            return float(child.ask(timeout_s=_PATIENCE_S, messages=total))
