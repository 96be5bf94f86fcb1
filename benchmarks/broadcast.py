"""How long one broadcast to many queues takes until Redis has all of it."""

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

__all__ = ["ABOUT", "Broadcaster", "measure"]

ABOUT = (
    "Wall time of one broadcast to 1,000 queues, confirm='queued', in a warmed-up process; twenty consumers with a "
    "lease take from fifty queues each. Stock calls apply_async() once for each queue, and has no receipts."
)

_STOCK, _BEST_EFFORT, _ALL_OR_NOTHING = "stock", "best_effort", "all_or_nothing"
_WAYS = (_STOCK, _BEST_EFFORT, _ALL_OR_NOTHING)
_RECIPIENTS, _CONSUMERS = 1000, 20
#: The longest one broadcast may take, in milliseconds.
_MOST_MS = 1000.0


class Broadcaster:
    """Sends one task to many queues, again and again.

    Args:
        way: stock ``apply_async()``, or a strategy of ``broadcast()``.
        url: of the broker.
    """

    def __init__(self, *, way: str, url: str) -> None:
        app = make_app(url, Side.STOCK if way == _STOCK else Side.HARDENED)
        task, queues = noop_of(app), [f"q{number}" for number in range(_RECIPIENTS)]
        self._send: Callable[[], object] = lambda: [task.apply_async(queue=queue) for queue in queues]
        if way != _STOCK:
            from hardening import broadcast  # noqa: PLC0415 - stock must not pay for it
            from hardening.core.deployment import client_of, settings_of  # noqa: PLC0415
            from hardening.core.scripts.broadcasting import consume  # noqa: PLC0415
            from hardening.core.scripts.calls import renew  # noqa: PLC0415

            client, keys, share = client_of(app), settings_of(app).keys, _RECIPIENTS // _CONSUMERS
            for at in range(_CONSUMERS):
                renew(keys, f"c{at}", 3_600_000, join=True, about="{}").run(client)
                consume(keys, f"c{at}", queues[at * share : (at + 1) * share]).run(client)
            self._send = lambda: broadcast(task, queues, strategy=way, on_error="raise")  # type: ignore[arg-type]
        self()

    def __call__(self) -> float:
        """Wall time of one, in milliseconds."""
        begin_s = time.perf_counter()
        self._send()
        return (time.perf_counter() - begin_s) * 1e3


def measure(stage: Stage) -> list[Row]:
    """Lets three processes take turns; every round begins with new ones."""
    rounds, repeats = stage.rounds(full=5, quick=2), stage.pick(10, 3)
    times: dict[str, list[float]] = {way: [] for way in _WAYS}
    for number, order in enumerate(orders(rounds, _WAYS), 1):
        stage.tell(f"round {number} of {rounds}")
        with ExitStack() as stack:
            children = {}
            for way in order:
                child = stage.child("benchmarks.broadcast:Broadcaster", stack.enter_context(stage.redis()), way=way)
                children[way] = stack.enter_context(child)
            turns = [(way, children[way].ask()) for turn in orders(repeats, order) for way in turn]
        for way in _WAYS:
            times[way].append(statistics.median(took_ms for one, took_ms in turns if one == way))
    stock, target = Sample.of(times[_STOCK]), Target.at_most(_MOST_MS)
    return [
        Row(name=f"1,000 queues, {way}", unit="ms", stock=stock, hardened=Sample.of(times[way]), target=target)
        for way in (_BEST_EFFORT, _ALL_OR_NOTHING)
    ]
