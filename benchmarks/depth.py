"""Whether a deep queue makes anything slow."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from kombu import Producer

from benchmarks.failure import MeasureFailed
from benchmarks.mint import Mint, fill
from benchmarks.row import Row, Target
from benchmarks.sample import Sample
from benchmarks.side import Side, orders
from benchmarks.wire import connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.stage import Stage

__all__ = ["ABOUT", "Porter", "measure"]

ABOUT = (
    "Time for one message through bare kombu, one at a time so that the depth stays the same: publish, then take "
    "(basic_get) and ack. All queues lie on one server and take turns. The last two rows set the deepest against that "
    "of one message, round by round."
)

_ACTS = ("publish", "take+ack")
_PATIENCE_S = 120.0
#: How much slower the deepest queue may be.
_FLAT = 1.5


class Porter:
    """Puts one message in and takes one out, again and again.

    Args:
        side: of kombu's transports.
        url: of the broker.
    """

    def __init__(self, *, side: str, url: str) -> None:
        self._channel = connect(url, Side(side)).default_channel
        self._producer = Producer(self._channel, auto_declare=False)

    def __call__(self, *, queue: str, turns: int) -> tuple[float, float]:
        """Mean time to publish and to take and ack, in microseconds."""
        clock = time.perf_counter
        publish_s = take_s = 0.0
        for _ in range(turns):
            begin_s = clock()
            self._producer.publish("[]", routing_key=queue, headers={"task": "benchmarks.noop"})
            published_s = clock()
            message = self._channel.basic_get(queue)
            if message is None:
                raise MeasureFailed("the queue is empty")
            message.ack()
            publish_s += published_s - begin_s
            take_s += clock() - published_s
        return publish_s / turns * 1e6, take_s / turns * 1e6


Times = dict[tuple[str, int, Side], list[float]]


def measure(stage: Stage) -> list[Row]:
    """Lets both sides work in turn on ever deeper queues, each side on a server of its own."""
    depths = stage.pick((1, 1_000, 100_000, 1_000_000), (1, 1_000, 100_000))
    rounds = stage.rounds(full=5, quick=3)
    times: Times = defaultdict(list)
    for number, order in enumerate(orders(rounds, tuple(Side)), 1):
        for side in order:
            stage.tell(f"round {number} of {rounds}: {side}")
            _round(stage, side, depths, times)
    rows = [_row(times, act, depth) for act in _ACTS for depth in depths]
    return [*rows, *(_flatness(times, act, depths) for act in _ACTS)]


def _round(stage: Stage, side: Side, depths: Sequence[int], times: Times) -> None:
    """The depths take turns, so that a machine which grows slower counts against none."""
    blocks, turns = stage.pick((24, 50), (10, 30))
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    with stage.redis() as server:
        mint = Mint.of(side, server.url, server.client)
        for depth in depths:
            fill(server.client, mint.copies(depth), f"q{depth}")
        with stage.child("benchmarks.depth:Porter", server, side=side) as child:
            child.ask(queue=f"q{depths[0]}", turns=10 * turns)  # warms up
            for order in orders(blocks, depths):
                for depth in order:
                    answer = child.ask(timeout_s=_PATIENCE_S, queue=f"q{depth}", turns=turns)
                    for act, time_us in zip(_ACTS, answer, strict=True):
                        found[act, depth].append(time_us)
    for (act, depth), times_us in found.items():
        times[act, depth, side].append(statistics.median(times_us))


def _row(times: Times, act: str, depth: int) -> Row:
    stock, hardened = (Sample.of(times[act, depth, side]) for side in Side)
    return Row(name=f"{act} at {depth:,}", unit="us", stock=stock, hardened=hardened)


def _flatness(times: Times, act: str, depths: Sequence[int]) -> Row:
    stock, hardened = (_slowdown(times, act, depths, side) for side in Side)
    return Row(
        name=f"{act}, {depths[-1]:,} / {depths[0]}",
        unit="x",
        stock=stock,
        hardened=hardened,
        target=Target.at_most(_FLAT),
    )


def _slowdown(times: Times, act: str, depths: Sequence[int], side: Side) -> Sample:
    deepest, shallowest = (times[act, depth, side] for depth in (depths[-1], depths[0]))
    return Sample.of(deep / shallow for deep, shallow in zip(deepest, shallowest, strict=True))
