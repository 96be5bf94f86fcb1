"""One deployment with schedules, moved by leaders in this process; time is moved by moving what is due."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from beat_schedules.leader import Leader, Report
from beat_schedules.schedules import Schedules
from hardening.core.deployment import client_of, settings_of
from hardening.core.ledger import read_ledger

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core import telemetry

__all__ = ["HOUR_MS", "Scheduling", "named"]

HOUR_MS = 3_600_000


class Scheduling:
    """The schedules of an app.

    Args:
        app: a hardened one; its default queue is the test's own.
    """

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.keys = settings_of(app).keys
        self.client: Any = client_of(app)
        self.schedules = Schedules(app)

    def declare(self, **entries: Any) -> None:
        """What the code declares from now on."""
        self.app.conf.beat_schedule = entries

    def leader(self) -> Leader:
        """A new beat."""
        return Leader(self.app)

    def led(self) -> Leader:
        """A new beat that leads, and has declared what there is."""
        leader = self.leader()
        assert self.tick(leader).is_leading
        return leader

    def tick(self, leader: Leader) -> Report:
        """One tick, and those that it asks for at once."""
        report, sent = leader.run_once(), 0
        while report.is_leading and report.wait_s == 0:
            sent += report.sent
            report = leader.run_once()
        return report._replace(sent=sent + report.sent)

    def owe(self, name: str, ago_ms: int) -> int:
        """Has an entry owe a slot since some time ago; returns that slot."""
        slot_ms = self.schedules.now() - ago_ms
        self.client.hset(self.keys.beat_entry(name), "slot_ms", slot_ms)
        self.client.hdel(self.keys.beat_entry(name), "sent_ms")
        self.client.zadd(self.keys.beat_due, {name: slot_ms})
        return slot_ms

    def next_ms(self, name: str) -> int:
        """The slot an entry owes."""
        return int(self.client.hget(self.keys.beat_entry(name), "slot_ms") or 0)

    def sent(self) -> list[tuple[str, int]]:
        """Entry and slot of each message on the queue, oldest first."""
        raws = self.client.lrange(self.app.conf.task_default_queue, 0, -1)[::-1]
        slots = [json.loads(raw)["headers"]["hardening_slot"] for raw in raws]
        return [(slot["entry"], slot["due_ms"]) for slot in slots]

    def messages(self) -> list[dict[str, Any]]:
        """The messages on the queue, oldest first."""
        return [json.loads(raw) for raw in self.client.lrange(self.app.conf.task_default_queue, 0, -1)[::-1]]

    def verify(self) -> None:
        """The ledger must balance."""
        ledger = read_ledger(self.client, self.keys)
        assert ledger.is_balanced, ledger


def named(events_: list[telemetry.Event], kind: type[Any]) -> list[Any]:
    """Those of one kind."""
    return [event for event in events_ if isinstance(event, kind)]
