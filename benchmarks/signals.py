"""How many signals a process routes a second."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from celery import Celery

from benchmarks.failure import MeasureFailed
from benchmarks.row import Row, Target
from benchmarks.sample import Sample

if TYPE_CHECKING:
    from benchmarks.stage import Stage

__all__ = ["ABOUT", "Router", "measure"]

ABOUT = (
    "emit() of a signal with a small payload, in a warmed-up process, one after the other, among 1,000 subscriptions "
    "by patterns; each signal has so many subscribers, each with a queue of its own. With changes: another app makes "
    "or ends a subscription before every twentieth. p99: of the time that one emit() took. Stock has no such thing."
)

_SUBSCRIPTIONS = 1000
_PATTERNS = ("topic{}.*", "topic{}.created", "topic{}.#", "#.topic{}.*")
_LEAST_RATE = 2000
_CHANGE_EVERY = 20


class Router:
    """Emits, with subscriptions of its own.

    Args:
        url: of a server of its own.
        fan: how many subscribers each signal has.
        changes: whether subscriptions change meanwhile.
    """

    def __init__(self, *, url: str, fan: int, changes: bool) -> None:
        from hardening import harden, subscribe  # noqa: PLC0415 - stock must not pay for it

        self._app = app = harden(Celery("signals", broker=url, set_as_current=False))
        self._other = harden(Celery("signals", broker=url, set_as_current=False))
        self._fan, self._changes, self._count = fan, changes, 0
        self._topics = _SUBSCRIPTIONS // fan
        for topic in range(self._topics):
            for at in range(fan):
                pattern = _PATTERNS[at % len(_PATTERNS)].format(topic)
                subscribe(pattern, "bench.told", queue=f"q{topic}.{at}", durable=True, app=app)
        self(calls=self._topics)

    def __call__(self, *, calls: int) -> tuple[float, float]:
        """Signals a second, and the 99th percentile of one, in microseconds."""
        from hardening import emit  # noqa: PLC0415

        times_s, payload = [], {"order": 17, "customer": "c-4711", "total": 12.5, "lines": [1, 2, 3]}
        for number in range(calls):
            if self._changes and number % _CHANGE_EVERY == 0:
                self._change()
            begin_s = time.perf_counter()
            told = emit(f"topic{number % self._topics}.created", payload, on_error="raise", app=self._app)
            times_s.append(time.perf_counter() - begin_s)
            if told.routed != self._fan:
                raise MeasureFailed(f"{told.routed} subscribers got a signal, not {self._fan}")
        return calls / sum(times_s), statistics.quantiles(times_s, n=100)[98] * 1e6

    def _change(self) -> None:
        from hardening import subscribe, unsubscribe  # noqa: PLC0415

        self._count += 1
        made = subscribe("other.*", "bench.told", queue="other", durable=True, app=self._other)
        if self._count % 2 == 0:
            unsubscribe(made, app=self._other)


def measure(stage: Stage) -> list[Row]:
    """Each round on new servers."""
    rounds, calls = stage.rounds(full=5, quick=2), stage.pick(4_000, 1_000)
    cases = {"1 subscriber": (1, False), "1 subscriber, with changes": (1, True), "10 subscribers": (10, False)}
    rates: dict[str, list[float]] = {name: [] for name in cases}
    slowest_us: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(1, rounds + 1):
        stage.tell(f"round {number} of {rounds}")
        for name, (fan, changes) in cases.items():
            with (
                stage.redis() as server,
                stage.child("benchmarks.signals:Router", server, fan=fan, changes=changes) as child,
            ):
                rate, slow_us = child.ask(timeout_s=120.0, calls=calls)
            rates[name].append(rate)
            slowest_us[name].append(slow_us)
    least = Target.at_least(_LEAST_RATE)
    return [
        *(
            Row(name=name, unit="/s", hardened=Sample.of(rates[name]), target=least if fan == 1 else None)
            for name, (fan, _) in cases.items()
        ),
        *(Row(name=f"{name}, p99", unit="us", hardened=Sample.of(slowest_us[name])) for name in cases),
    ]
