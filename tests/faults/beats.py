"""Real beats as processes, and what they sent: nobody takes the messages, so every slot can be counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery

from hardening import harden
from hardening.core.deployment import client_of, settings_of
from tests.eventually import eventually

__all__ = ["LEASE_S", "Beat", "Beats"]

#: Lease of every beat here, in seconds.
LEASE_S = 1.5
_ROOT = Path(__file__).parents[2]


@dataclass
class Beat:
    """One beat."""

    process: subprocess.Popen[bytes]
    log: Path

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends it and returns its exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        return self.process.wait(20)


@dataclass
class Beats:
    """Some beats of one deployment.

    Attributes:
        broker: its URL.
        prefix: of this test.
        schedule: what the code of the beats declares, in JSON.
        logs: where their logs go.
    """

    broker: str
    prefix: str
    schedule: dict[str, Any]
    logs: Path
    beats: list[Beat] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app = Celery(f"watch-{self.prefix}", broker=self.broker, set_as_current=False)
        self.app.conf.update(task_default_queue=self.queue, hardening_prefix=self.prefix)
        harden(self.app)
        self.keys = settings_of(self.app).keys

    @property
    def queue(self) -> str:
        """Where the messages wait."""
        return f"q.{self.prefix}"

    @property
    def client(self) -> Any:
        """Replies are bytes."""
        return client_of(self.app)

    def start(self, count: int = 1, *, lease_s: float = LEASE_S, skew_s: float = 0.0) -> list[Beat]:
        """Starts beats; they lead or stand by some time later."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "BEATS_BROKER": self.broker,
            "BEATS_QUEUE": self.queue,
            "BEATS_PREFIX": self.prefix,
            "BEATS_SCHEDULE": json.dumps(self.schedule),
            "BEATS_LEASE_S": str(lease_s),
            "BEATS_SKEW_S": str(skew_s),
        }
        started = []
        for _ in range(count):
            log = self.logs / f"beat-{len(self.beats)}.log"
            command = [
                sys.executable, "-W", "ignore", "-m", "celery", "-A", "tests.faults.beat_app", "hardening", "beat",
                "-l", "INFO",
            ]  # fmt: skip
            with log.open("wb") as sink:
                process = subprocess.Popen(
                    command, stdout=sink, stderr=sink, env=environment, cwd=_ROOT, start_new_session=True
                )
            self.beats.append(Beat(process, log))
            started.append(self.beats[-1])
        return started

    # -- who leads

    def leader(self) -> Beat | None:
        """The beat that holds the lead; None: nobody does."""
        held: bytes | None = self.client.get(self.keys.beat_leader)
        pid = int(held.split(b":")[-2]) if held else 0
        return next((beat for beat in self.beats if beat.process.pid == pid), None)

    def await_leader(self, other_than: Beat | None = None, timeout_s: float = 30.0) -> Beat:
        """Waits until a beat leads, or another one."""

        def leads() -> Beat | None:
            leader = self.leader()
            return None if leader is other_than else leader

        found = eventually(leads, timeout_s)
        assert found is not None
        return found

    def await_ticks(self, count: int, timeout_s: float = 60.0) -> None:
        """Waits until so many beats are there."""
        eventually(lambda: self.client.zcard(self.keys.beat_ticks) >= count, timeout_s)

    # -- what was sent

    def sent(self) -> dict[str, list[int]]:
        """The slots of each entry for which there is a message, sorted; one that was sent twice is there twice."""
        found: dict[str, list[int]] = defaultdict(list)
        for raw in self.client.lrange(self.queue, 0, -1):
            slot = json.loads(raw)["headers"]["hardening_slot"]
            found[slot["entry"]].append(slot["due_ms"])
        return {name: sorted(slots) for name, slots in found.items()}

    def count(self) -> int:
        """How many messages there are."""
        return int(self.client.llen(self.queue))

    def now_ms(self) -> int:
        """The time at Redis."""
        seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def await_first(self, timeout_s: float = 30.0) -> None:
        """Waits until every interval has come to its first slot, from which its grid is known."""
        eventually(lambda: self.sent().keys() == self.schedule.keys(), timeout_s)

    def await_all(self, timeout_s: float = 30.0) -> int:
        """Waits until every interval has come to a slot later than now, and returns now in ms.

        That says something only of intervals that have come to a slot before, see :meth:`await_first`.
        """
        until_ms = self.now_ms()
        eventually(lambda: all(max(self.sent().get(name, [0])) > until_ms for name in self.schedule), timeout_s)
        return until_ms

    def faults(self, until_ms: int) -> list[str]:
        """What is wrong with the slots sent up to a time: each interval's must be on its grid, each of them once."""
        wrong, sent = [], self.sent()
        for name, entry in self.schedule.items():
            slots = [slot for slot in sent.get(name, []) if slot <= until_ms]
            step = round(entry["schedule"] * 1000)
            due = list(range(slots[0], until_ms + 1, step)) if slots else []
            if slots != due or not slots:
                twice = sorted({slot for slot in slots if slots.count(slot) > 1})
                wrong.append(
                    f"{name}: {len(slots)} sent, {len(due)} due; twice {twice[:5]}, lost "
                    f"{sorted(set(due) - set(slots))[:5]}, not due {sorted(set(slots) - set(due))[:5]}"
                )
        return wrong

    def stop(self) -> None:
        """Ends every beat."""
        for beat in self.beats:
            if beat.process.poll() is None:
                beat.process.kill()
                beat.process.wait(10)
        self.app.close()
