"""Many processes that monitor at once: the long form of the tests of monitors.

    python -m tests.faults.monitor_load --processes 100 --monitors 1000

Real processes, forked from one, each an owner with a thread and connections of its own, all on one private Redis. All
begin together. Half of the monitors of each watch a target that goes down while all live; the others watch one that
stays. Then half of the processes are killed, and the others end by themselves. What is counted: each down was told
once, to whom it was for; the monitors of each dead owner were removed; no trace of any is left.

Exit code 1: something was told twice, or not at all, or is left, or did not come to an end.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from celery import Celery

from hardening import harden, monitor
from hardening.core.deployment import settings_of
from hardening.core.embedded import EmbeddedRedis
from hardening.monitors import stats
from hardening.monitors.owner import leave_all
from hardening.monitors.sweep import Sweeper
from tests.eventually import eventually
from tests.integration.monitored import Targets, keys_of_monitors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from hardening import Down

__all__ = ["Figures", "Fleet", "main"]

#: For how long one step may take, in seconds.
_PATIENCE_S = 60.0
#: For how long a process waits to be told what to do next, in seconds: longer than the others together.
_LONG_S = 300.0


@dataclass
class Figures:
    """What it took the whole fleet.

    Attributes:
        processes: how many.
        monitors: of each.
        set_s: until the last of all was set, in seconds.
        check_ms: one leak check among them.
        told_s: from the end of a target until half of all monitors were told, in seconds.
        removed_s: from the death of half of the processes until their monitors were gone; a lease of that is silence.
        block_ms: the longest that one script kept Redis from serving others, in all of this.
    """

    processes: int
    monitors: int
    set_s: float = 0.0
    check_ms: float = 0.0
    told_s: float = 0.0
    removed_s: float = 0.0
    block_ms: float = 0.0


class Fleet:
    """So many processes and their Redis.

    Args:
        processes: how many.
        monitors: of each; even.
        lease_s: of each, in seconds.
    """

    def __init__(self, processes: int, monitors: int, lease_s: float) -> None:
        self.figures = Figures(processes, monitors)
        self._lease_s = lease_s
        self._server = EmbeddedRedis(port=0)
        self._pids: list[int] = []

    def run(self) -> Figures:
        """All of it.

        Raises:
            AssertionError: something was told twice, or not at all, or is left, or did not come to an end.
        """
        with self._server:
            try:
                self._fork()
                self._judge(self._server.client())
            finally:
                for pid in self._pids:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
        return self.figures

    def _fork(self) -> None:
        gc.freeze()
        for number in range(self.figures.processes):
            pid = os.fork()
            if not pid:
                self._be_one(number)
            self._pids.append(pid)

    def _be_one(self, number: int) -> None:
        code = 1
        try:
            signal.alarm(int(2 * _LONG_S))
            self._own(number)
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, it must not become a second parent
            traceback.print_exc()
        finally:
            os._exit(code)

    def _app(self) -> Celery:
        app = Celery("load", broker=self._server.broker_url, set_as_current=False)
        app.conf.update(hardening_lease_ttl_s=self._lease_s, hardening_socket_timeout_s=60.0)
        return harden(app)

    def _own(self, number: int) -> None:
        """One process: sets its monitors when all begin, notes what it is told, and ends when it is told to."""
        app, client = self._app(), self._server.client(socket_timeout=2 * _LONG_S)

        def on_down(down: Down) -> None:
            client.hincrby("load:told", down.tag, 1)

        client.incr("load:ready")
        client.blpop([f"load:begin:{number}"], timeout=_LONG_S)
        for one in range(self.figures.monitors):
            target = "worker:doomed" if one % 2 else "worker:safe"
            monitor(target, f"{number} {one}", on_down=on_down, app=app)
        client.incr("load:set")
        client.blpop([f"load:end:{number}"], timeout=_LONG_S)
        leave_all()

    def _judge(self, client: Any) -> None:
        app, figures = self._app(), self.figures
        keys, numbers = settings_of(app).keys, range(figures.processes)
        total, half = figures.processes * figures.monitors, figures.monitors // 2
        targets = Targets(client, keys)
        for name in ("doomed", "safe"):
            targets.join(name)
        client.config_set("slowlog-max-len", 100_000)
        client.config_set("slowlog-log-slower-than", 500)

        self._await(client, "load:ready", figures.processes)
        began_s = time.monotonic()
        self._say(client, "begin", numbers)
        self._await(client, "load:set", figures.processes)
        figures.set_s = time.monotonic() - began_s
        assert (stats(app=app).alive, stats(app=app).owners) == (total, figures.processes)

        began_s = time.monotonic()
        report = Sweeper(app, "check").run_once(at_once=True)
        figures.check_ms = (time.monotonic() - began_s) * 1000
        assert (report.told, report.orphaned, report.leaked) == (0, 0, 0)

        began_s = time.monotonic()
        targets.leave("doomed")
        eventually(lambda: client.hlen("load:told") >= total // 2, _PATIENCE_S)
        figures.told_s = time.monotonic() - began_s

        killed = numbers[: figures.processes // 2]
        began_s = time.monotonic()
        for _ in killed:
            pid = self._pids.pop(0)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        rest = (figures.processes - len(killed)) * half
        eventually(lambda: stats(app=app).alive == rest, _PATIENCE_S)
        figures.removed_s = time.monotonic() - began_s

        self._say(client, "end", numbers[len(killed) :])
        while self._pids:
            _, status = os.waitpid(self._pids.pop(0), 0)
            assert status == 0, f"a process ended with {status}"
        found = stats(app=app)
        assert (found.alive, found.owners, found.monitors) == (0, 0, total), found
        assert (found.downs, found.orphaned, found.ended) == (total // 2, len(killed) * half, rest), found
        told = Counter({tag.decode(): int(count) for tag, count in client.hgetall("load:told").items()})
        assert told == Counter(f"{number} {one}" for number in numbers for one in range(1, figures.monitors, 2))
        left = {key for key in keys_of_monitors(client, keys) if not key.startswith("monitor:downs:")}
        assert left == set()
        figures.block_ms = max((one["duration"] for one in client.slowlog_get(100_000)), default=500) / 1000

    @staticmethod
    def _say(client: Any, what: str, numbers: Sequence[int]) -> None:
        pipe = client.pipeline(transaction=False)
        for number in numbers:
            pipe.lpush(f"load:{what}:{number}", 1)
        pipe.execute()

    @staticmethod
    def _await(client: Redis, counter: str, count: int) -> None:
        eventually(lambda: int(client.get(counter) or 0) == count, _PATIENCE_S)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.monitor_load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--processes", type=int, default=100)
    parser.add_argument("--monitors", type=int, default=1000, help="of each; even")
    parser.add_argument("--lease", type=float, default=10.0, help="of each process, in seconds")
    options = parser.parse_args()
    if options.processes < 2 or options.monitors < 2 or options.monitors % 2:
        parser.error("expected at least 2 processes, and an even number of monitors")
    try:
        figures = Fleet(options.processes, options.monitors, options.lease).run()
    except AssertionError:
        traceback.print_exc()
        sys.exit(1)
    sys.stdout.write(f"{json.dumps({name: round(value, 2) for name, value in asdict(figures).items()})}\n")


if __name__ == "__main__":
    main()
