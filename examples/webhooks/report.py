"""What a run came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

__all__ = ["VISIBILITY_TIMEOUT_S", "Report"]

#: After how long stock Celery gives back what a dead worker held, in seconds; kombu's default.
VISIBILITY_TIMEOUT_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Every number of a run. None: plain Celery cannot tell.

    Attributes:
        mode: ``hardened`` or ``stock``.
        seed: of everything random.
        sent: events that the broker took.
        refused: events that the broker did not take.
        received: different events that the endpoint received.
        lost: events that were sent and are nowhere.
        dropped: those of them that failed for good and that Celery dropped.
        stuck: events that are still in the broker, by place.
        duplicates: receipts beyond the first of each event.
        duplicates_bound: the most there may be: tasks that were running in workers when they died.
        recovered: messages that came back from dead workers.
        dead: messages that became dead letters.
        dead_by_reason: why those died that were there before the replay.
        bystanders: those of them that had done nothing wrong, but ran beside poison too often.
        replayed: dead letters that were replayed.
        slowest_recovery_s: from a worker's death until all it held was back in the queues.
        recovery_limit_s: what is promised for that.
        kills: workers that the drill killed.
        crashes: workers that poison killed.
        exits: workers that ended by themselves, which they should not.
        cut: broker connections that were cut.
        is_balanced: whether the broker's own ledger accounts for every message.
        duration_s: of the whole run.
    """

    mode: str
    seed: int
    sent: int
    refused: int
    received: int
    lost: int
    dropped: int
    stuck: dict[str, int] = field(default_factory=dict)
    duplicates: int
    duplicates_bound: int
    recovered: int | None
    dead: int | None
    dead_by_reason: dict[str, int] = field(default_factory=dict)
    bystanders: int = 0
    replayed: int | None
    slowest_recovery_s: float | None
    recovery_limit_s: float | None
    kills: int
    crashes: int
    exits: int = 0
    cut: int
    is_balanced: bool | None
    duration_s: float

    @property
    def is_stock(self) -> bool:
        """Whether this was plain Celery."""
        return self.mode == "stock"

    @property
    def waiting(self) -> int:
        """Events that are still in the broker, though nothing more was happening to them."""
        return sum(number for place, number in self.stuck.items() if place != "dead letters")

    @property
    def is_ok(self) -> bool:
        """Whether nothing was lost, left waiting or refused, and the broker's ledger agrees."""
        return not (self.lost or self.waiting or self.refused) and self.is_balanced is not False

    @property
    def exit_code(self) -> int:
        """0 only when nothing was lost."""
        return 0 if self.is_ok else 1

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {**asdict(self), "ok": self.is_ok, "verdict": self.verdict}

    @property
    def verdict(self) -> str:
        """One line: was anything lost?"""
        if self.is_ok:
            kept = self.stuck.get("dead letters", 0)
            also = f", {kept:,} are in the dead-letter queue" if kept else ""
            return f"NOTHING WAS LOST: {self.received:,} of {self.sent:,} events were delivered{also}."
        parts = []
        if self.lost:
            parts.append(f"{self.lost:,} of {self.sent:,} events are gone for ever")
        if self.waiting:
            until = (
                f" until the visibility timeout of {VISIBILITY_TIMEOUT_S:,} s is over"
                if self.stuck.get("unacked")
                else ""
            )
            parts.append(f"{self.waiting:,} are stuck{until}")
        if self.refused:
            parts.append(f"{self.refused:,} could not be sent")
        if not parts:
            parts.append("the ledger of the broker does not balance")
        head = "EVENTS WERE LOST" if self.lost else "NOT EVERYTHING WAS DELIVERED"
        return f"{head}: {', '.join(parts)}."

    def table(self) -> Table:
        """All of it, for people."""
        table = Table(title=f"Webhooks, {'plain Celery' if self.is_stock else 'hardened'}", title_justify="left")
        table.add_column("")
        table.add_column("events", justify="right")
        table.add_column("what it means", overflow="fold")
        for name, value, meaning in self._rows():
            table.add_row(name, value, meaning)
        return table

    def _rows(self) -> list[tuple[str, str, str]]:
        rows = [
            ("sent", f"{self.sent:,}", "taken by the broker"),
            ("received", f"{self.received:,}", "different events in the endpoint's own ledger"),
            ("lost", f"{self.lost:,}", self._lost_meaning()),
            ("stuck", f"{self.waiting:,}", self._stuck_meaning()),
            ("duplicates", f"{self.duplicates:,}", self._duplicates_meaning()),
            ("recovered", _number(self.recovered), f"came back from dead workers: {self._deaths()}"),
            ("dead", _number(self.dead), self._dead_meaning()),
            ("replayed", _number(self.replayed), "dead letters sent again, once the endpoint was fixed"),
            ("slowest recovery", self._recovery(), self._recovery_meaning()),
        ]
        return [row for row in rows if row[0] != "stuck" or self.waiting or self.is_stock]

    def _lost_meaning(self) -> str:
        dropped = f"; of them failed for good and dropped: {self.dropped:,}" if self.dropped else ""
        return f"sent, and neither received nor anywhere in the broker{dropped}"

    def _stuck_meaning(self) -> str:
        places = ", ".join(f"{number:,} {place}" for place, number in self.stuck.items() if place != "dead letters")
        return f"still in the broker: {places}" if places else "still in the broker"

    def _duplicates_meaning(self) -> str:
        if self.is_stock:
            return "received more than once"
        return f"ran twice, for their worker died while it ran them; at most {self.duplicates_bound}"

    def _deaths(self) -> str:
        ended = f", {self.exits} ended by themselves" if self.exits else ""
        return f"{self.kills} were killed by the drill, {self.crashes} by poison{ended}"

    def _dead_meaning(self) -> str:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in self.dead_by_reason.items())
        innocent = f"; of them only beside poison: {self.bystanders:,}" if self.bystanders else ""
        return f"became dead letters: {reasons}{innocent}" if reasons else "became dead letters"

    def _recovery(self) -> str:
        return "-" if self.slowest_recovery_s is None else f"{self.slowest_recovery_s:.1f} s"

    def _recovery_meaning(self) -> str:
        if self.is_stock:
            return f"nothing comes back before the visibility timeout, {VISIBILITY_TIMEOUT_S:,} s"
        promise = f"; promised: {self.recovery_limit_s:g} s" if self.recovery_limit_s else ""
        return f"from a worker's death until all it held was back{promise}"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
