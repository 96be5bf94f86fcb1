"""The long fault test of beats: ``make chaos BEAT=1``, or ``python -m tests.faults.beat_chaos --seconds 600 --seed 1``.

Three beats send three schedules while, every few seconds, by the seed, the one that leads, or another, is killed,
frozen past its lease and woken, or politely ended, or Redis is killed and restarted from its append-only file. In the
end the slots sent must be the slots due, each once.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from hardening.core.embedded import EmbeddedRedis
from tests.faults.beats import LEASE_S, Beat, Beats

SCHEDULE = {
    "quick": {"task": "shop.quick", "schedule": 0.2},
    "steady": {"task": "shop.steady", "schedule": 1.0},
    "slow": {"task": "shop.slow", "schedule": 2.5},
}
_BEATS = 3


class Trouble:
    """What happens to beats.

    Args:
        beats: three of them.
        broker: their Redis.
        seed: of chance.
    """

    def __init__(self, beats: Beats, broker: EmbeddedRedis, seed: int) -> None:
        self._beats = beats
        self._broker = broker
        self._chance = random.Random(seed)
        self.count: Counter[str] = Counter()

    def strike(self) -> None:
        """One misfortune, to the beat that leads more often than not; then there are three again."""
        kind = self._chance.choice(["kill", "kill", "freeze", "freeze", "end", "restart"])
        self.count[kind] += 1
        if kind == "restart":
            self._broker.kill()
            threading.Event().wait(self._chance.uniform(0.0, 2.0))
            self._broker.restart()
            return
        victim = self._victim()
        if kind == "kill":
            victim.end(signal.SIGKILL)
        elif kind == "end":
            victim.end(signal.SIGTERM)
        else:
            victim.send(signal.SIGSTOP)
            threading.Event().wait(self._chance.uniform(0.2, 2.5) * LEASE_S)
            victim.send(signal.SIGCONT)
            return
        self._beats.start(1, skew_s=self._chance.choice([0.0, 0.0, -3600.0, 86_400.0]))

    def _victim(self) -> Beat:
        alive = [beat for beat in self._beats.beats if beat.process.poll() is None]
        leader = self._beats.leader()
        return leader if leader in alive and self._chance.random() < 2 / 3 else self._chance.choice(alive)

    def pause(self) -> None:
        """Some seconds of peace."""
        threading.Event().wait(self._chance.uniform(1.0, 5.0))


def run(seconds: float, seed: int) -> list[str]:
    """All of it; returns what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        data, logs = Path(folder, "aof"), Path(folder, "logs")
        data.mkdir()
        logs.mkdir()
        with EmbeddedRedis(port=0, directory=data, config={"appendfsync": "always"}) as broker:
            beats = Beats(broker.broker_url, "chaos", SCHEDULE, logs)
            try:
                return _run(beats, Trouble(beats, broker, seed), seconds)
            finally:
                beats.stop()


def _run(beats: Beats, trouble: Trouble, seconds: float) -> list[str]:
    beats.start(_BEATS)
    beats.await_ticks(_BEATS)
    beats.await_first()
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        trouble.strike()
        trouble.pause()
    beats.await_leader(None, 60)
    until_ms = beats.await_all(120)
    wrong = beats.faults(until_ms)
    slots = sum(len(slots) for slots in beats.sent().values())
    fence = int(beats.client.get(beats.keys.beat_fence))
    told = ", ".join(f"{count} x {kind}" for kind, count in sorted(trouble.count.items()))
    sys.stdout.write(f"{seconds:g} s, {told}: {slots} slots sent, {fence} takeovers, {len(wrong)} schedules wrong\n")
    return wrong


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    wrong = run(given.seconds, given.seed)
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
