"""What a monitor costs the task that sets it, and what a leak check costs Redis."""

from __future__ import annotations

import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

from celery import Celery
from redis import Redis

from benchmarks.failure import MeasureFailed
from benchmarks.row import Row, Target
from benchmarks.sample import Sample

if TYPE_CHECKING:
    from benchmarks.stage import Stage

__all__ = ["ABOUT", "Registry", "Watcher", "measure"]

ABOUT = (
    "A task that waits for 10 ms, run by Celery's tracer, in a block that monitors, in one whose monitor is set at "
    "once (when='now': one round trip), with a bare PING in its place (what one round trip costs a process and a "
    "Redis that have been asleep), and without, in turn. A leak check (Sweeper.run_once) among so many live monitors "
    "of 100 owners, one in 200 a leak; longest block: the longest that one call of it kept Redis from serving others, "
    "by Redis's own slow log. Stock has no such thing."
)

_WORK_S = 0.01
_TARGET = "worker:bench"
_PATIENCE_S = 120.0
_BATCH = 500


def _app(url: str) -> Celery:
    from hardening import harden  # noqa: PLC0415 - stock must not pay for it
    from hardening.core.scripts import calls  # noqa: PLC0415
    from hardening.core.settings import Settings  # noqa: PLC0415

    app = harden(Celery("monitors", broker=url, set_as_current=False))
    with Redis.from_url(url) as client:
        calls.renew(Settings().keys, "bench", 600_000, join=True, about="{}").run(client)
    return app


class Watcher:
    """Runs tasks that monitor, and such as do not.

    Args:
        url: of a server of its own.
    """

    def __init__(self, *, url: str) -> None:
        from hardening import monitoring  # noqa: PLC0415
        from hardening.core.deployment import client_of  # noqa: PLC0415

        app = _app(url)
        client = client_of(app)

        never = threading.Event()

        def work() -> None:
            never.wait(_WORK_S)

        @app.task(shared=False)
        def plain() -> None:
            work()

        @app.task(shared=False)
        def monitored() -> None:
            with monitoring(_TARGET, "bench", app=app):
                work()

        @app.task(shared=False)
        def pinging() -> None:
            client.ping()
            work()

        @app.task(shared=False)
        def monitored_now() -> None:
            with monitoring(_TARGET, "bench", when="now", app=app):
                work()

        self._tasks = (plain, monitored, monitored_now, pinging)
        self(calls=10)

    def __call__(self, *, calls: int) -> tuple[float, ...]:
        """What a monitor adds to a task, in us; the time with it over that without; so of one set now, and a PING."""
        times_us: list[list[float]] = [[] for _ in self._tasks]
        for _ in range(calls):
            for task, took_us in zip(self._tasks, times_us, strict=True):
                begin_s = time.perf_counter()
                task.apply(throw=True)
                took_us.append((time.perf_counter() - begin_s) * 1e6)
        plain_us, monitored_us, *others_us = map(statistics.median, times_us)
        return monitored_us - plain_us, *(us / plain_us for us in (monitored_us, *others_us))


class Registry:
    """Has many owners monitor, and looks for leaks.

    Args:
        url: of a server of its own.
    """

    def __init__(self, *, url: str) -> None:
        from hardening.monitors.sweep import Sweeper  # noqa: PLC0415

        self._client: Any = Redis.from_url(url, socket_timeout=30.0)
        self._sweeper = Sweeper(_app(url), "bench")

    def __call__(self, *, monitors: int) -> tuple[float, float]:
        """How long the check took and the longest block, in milliseconds."""
        leaks = monitors // 200
        for number in range(100):
            self._own(f"live:{number}:0", (monitors - leaks) // 100, leak_after_ms=600_000)
            self._own(f"leak:{number}:0", leaks // 100, leak_after_ms=1)
        self._client.config_set("slowlog-max-len", 100_000)
        self._client.config_set("slowlog-log-slower-than", 20)
        begin_s = time.perf_counter()
        report = self._sweeper.run_once()
        took_s = time.perf_counter() - begin_s
        self._client.config_set("slowlog-log-slower-than", -1)
        if report.leaked != leaks:
            raise MeasureFailed(f"{report.leaked:,} of {leaks:,} leaks were found")
        blocks_us = [entry["duration"] for entry in self._client.slowlog_get(100_000)]
        return took_s * 1e3, max(blocks_us, default=20) / 1e3

    def _own(self, owner: str, count: int, *, leak_after_ms: int) -> None:
        from hardening.core.scripts import monitoring as scripts  # noqa: PLC0415
        from hardening.core.settings import Settings  # noqa: PLC0415

        about = '{"tag": "bench", "stack": ["/srv/shop/orders.py:17 in charge"]}'
        for first in range(0, count, _BATCH):
            errands = [
                scripts.Errand(f"{owner}#{number}", _TARGET, has_task=False, leak_after_ms=leak_after_ms, about=about)
                for number in range(first, min(first + _BATCH, count))
            ]
            scripts.monitor(Settings().keys, owner, 600_000, errands).run(self._client)


def measure(stage: Stage) -> list[Row]:
    """Each round on new servers."""
    size, calls = stage.pick(100_000, 20_000), stage.pick(150, 50)
    added_us, ratios, nows, floors, took_ms, blocked_ms = [], [], [], [], [], []
    rounds = stage.rounds(full=5, quick=3)
    for number in range(1, rounds + 1):
        stage.tell(f"round {number} of {rounds}")
        with stage.redis() as server, stage.child("benchmarks.monitors:Watcher", server) as child:
            added, ratio, now, floor = child.ask(timeout_s=_PATIENCE_S, calls=calls)
        with stage.redis() as server, stage.child("benchmarks.monitors:Registry", server) as child:
            took, blocked = child.ask(timeout_s=_PATIENCE_S, monitors=size)
        added_us.append(added)
        ratios.append(ratio)
        nows.append(now)
        floors.append(floor)
        took_ms.append(took)
        blocked_ms.append(blocked)
    return [
        Row(name="set and ended in a task", unit="us", hardened=Sample.of(added_us)),
        Row(name="task of 10 ms, with over without", unit="x", hardened=Sample.of(ratios), target=Target.at_most(1.05)),
        Row(name="task of 10 ms, with one set now", unit="x", hardened=Sample.of(nows)),
        Row(name="task of 10 ms, with a PING in its place", unit="x", hardened=Sample.of(floors)),
        Row(name=f"leak check, {size:,} monitors", unit="ms", hardened=Sample.of(took_ms), target=Target.at_most(500)),
        Row(name=f"{size:,}: longest block", unit="ms", hardened=Sample.of(blocked_ms), target=Target.at_most(50)),
    ]
