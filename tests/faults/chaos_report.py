"""The report of the long fault test: kept after every round, added up, shown. Pure, but for its one file."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from rich.table import Table

from tests.faults.chaos_plan import Kind
from tests.faults.rig import LEASE_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["RECOVERY_LIMIT_S", "OtherRunError", "Outcome", "Report", "percentile"]

#: What is promised for the recovery of what a dead worker held.
RECOVERY_LIMIT_S = LEASE_S + 2.0


class OtherRunError(Exception):
    """The report on disk is of another run."""


@dataclass(kw_only=True)
class Outcome:
    """One round.

    Attributes:
        number: from 1.
        crews: its workers.
        aof: whether Redis itself was killed, too.
        sent: messages that were to be sent.
        refused: those that Redis did not take.
        dead: dead letters.
        bystanders: those of them that had done nothing wrong, but ran at three kills.
        wrong: by key: what is wrong with each message that came to no proper end.
        duplicates: runs beyond the first of each message.
        resent: those that come from a send which was repeated while Redis was away.
        over_bound: those that no fault answers for, with what is known of them.
        is_balanced: whether the ledger was balanced in the end.
        inflight: what was still held in the end.
        imbalances: readings of the ledger, while it all went on, that were not balanced.
        readings: how many there were.
        findings: whatever else should not be.
        faults: what was done.
        counters: of the ledger.
        seconds: how long it took.
        is_broken: whether it could not be brought to its end.
        evidence: where logs are, if they were kept.
    """

    number: int
    crews: list[str]
    aof: bool = False
    sent: int = 0
    refused: int = 0
    dead: int = 0
    bystanders: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    duplicates: int = 0
    resent: int = 0
    over_bound: list[str] = field(default_factory=list)
    is_balanced: bool = True
    inflight: int = 0
    imbalances: list[str] = field(default_factory=list)
    readings: int = 0
    findings: list[str] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    is_broken: bool = False
    evidence: str = ""

    @property
    def kills(self) -> int:
        """How many of its faults are kills that were asked for."""
        return sum(Kind(fault["kind"]).is_kill for fault in self.faults)

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing at all to look into."""
        return not (self.is_bad or self.findings)

    @property
    def is_bad(self) -> bool:
        """Whether something was lost, unbalanced, over bound or left in flight, or it could not be told."""
        is_kept = self.is_balanced and not self.imbalances and not self.inflight
        return bool(self.wrong or self.over_bound) or self.is_broken or not is_kept


@dataclass
class Report:
    """All rounds of a run.

    Attributes:
        seed: of all chance.
        options: everything else that decides what a round does.
        rounds: in order.
    """

    seed: int
    options: dict[str, Any]
    rounds: list[Outcome] = field(default_factory=list)

    @classmethod
    def resume(cls, path: Path, seed: int, options: dict[str, Any]) -> Self:
        """The report on disk, or an empty one.

        Raises:
            OtherRunError: there is one of another seed or with other options.
        """
        if not path.exists():
            return cls(seed, options)
        stored = json.loads(path.read_text())
        if (stored["seed"], stored["options"]) != (seed, options):
            told = f"seed {stored['seed']} and {stored['options']}, this is seed {seed} and {options}"
            raise OtherRunError(f"{path} is of a run with {told}: remove it, or name another with --report")
        return cls(seed, options, [Outcome(**outcome) for outcome in stored["rounds"]])

    def save(self, path: Path) -> None:
        """Writes it, whole or not at all."""
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({**asdict(self), "summary": self.summary()}, indent=1))
        fresh.replace(path)

    @property
    def kills(self) -> int:
        """Kills so far."""
        return sum(outcome.kills for outcome in self.rounds)

    @property
    def is_bad(self) -> bool:
        """Whether any round is."""
        return any(outcome.is_bad for outcome in self.rounds)

    def _faults(self) -> list[dict[str, Any]]:
        return [fault for outcome in self.rounds for fault in outcome.faults]

    def summary(self) -> dict[str, Any]:
        """The numbers that matter."""
        wrong = Counter(what.split(":")[0] for outcome in self.rounds for what in outcome.wrong.values())
        recoveries = _recoveries(self._faults())
        calm = _recoveries([fault for fault in self._faults() if not fault["disturbed"]])
        return {
            "rounds": len(self.rounds), "kills": self.kills,
            **{name: sum(getattr(outcome, name) for outcome in self.rounds)
               for name in ("sent", "refused", "dead", "bystanders", "duplicates", "resent", "readings")},
            "wrong": dict(wrong), "bound": sum(fault["bound"] for fault in self._faults()),
            "over_bound": sum(len(outcome.over_bound) for outcome in self.rounds),
            "unbalanced": sum(not outcome.is_balanced for outcome in self.rounds),
            "imbalances": sum(len(outcome.imbalances) for outcome in self.rounds),
            "findings": sum(len(outcome.findings) for outcome in self.rounds),
            "recoveries": len(recoveries), "recovery_p50_s": percentile(recoveries, 50),
            "recovery_p95_s": percentile(recoveries, 95), "recovery_max_s": max(recoveries, default=None),
            "late_recoveries": sum(seconds > RECOVERY_LIMIT_S for seconds in calm),
            "minutes": sum(outcome.seconds for outcome in self.rounds) / 60,
        }  # fmt: skip

    def table(self) -> Table:
        """A row for each kind of fault."""
        table = Table(title=f"chaos, seed {self.seed}", title_justify="left", box=None, pad_edge=False)
        table.add_column("fault")
        for name in ("times", "in flight", "begun", "duplicates", "bound", "recovery p50", "p95", "max"):
            table.add_column(name, justify="right")
        for kind in Kind:
            faults = [fault for fault in self._faults() if fault["kind"] == kind]
            if faults:
                recoveries = _recoveries(faults)
                times = (percentile(recoveries, 50), percentile(recoveries, 95), max(recoveries, default=None))
                sums = (sum(fault[name] for fault in faults) for name in ("inflight", "begun", "duplicates", "bound"))
                table.add_row(kind, str(len(faults)), *map(str, sums), *map(_seconds, times))
        return table

    def verdict(self, *, kills: int) -> str:
        """One line."""
        summary = self.summary()
        wrong = summary["wrong"]
        times = [_seconds(summary[f"recovery_{name}_s"]) for name in ("p50", "p95", "max")]
        parts = [
            f"{summary['kills']} of {kills} kills in {summary['rounds']} rounds",
            f"{summary['sent']} sent",
            f"{sum(wrong.values())} wrong {wrong or ''}".strip(),
            f"{summary['duplicates']} duplicates of at most {summary['bound']}",
            f"{summary['resent']} resent",
            f"{summary['over_bound']} over bound",
            f"{summary['unbalanced']} rounds and {summary['imbalances']} of {summary['readings']} readings unbalanced",
            f"recovery p50, p95, max: {', '.join(times)}, {summary['late_recoveries']} late",
            f"{summary['findings']} findings",
        ]
        word = "BAD" if self.is_bad else "GOOD" if self.kills >= kills else "GOOD SO FAR"
        return f"{word}: {'; '.join(parts)}"

    def complaints(self) -> list[str]:
        """A line for everything that must be looked into."""
        return [
            f"round {outcome.number}: {what}{f' [{outcome.evidence}]' if outcome.evidence else ''}"
            for outcome in self.rounds
            for what in (
                *(f"{key}: {told}" for key, told in outcome.wrong.items()),
                *(f"over bound: {told}" for told in outcome.over_bound),
                *(f"unbalanced: {told}" for told in outcome.imbalances[:3]),
                *([] if outcome.is_balanced else [f"unbalanced in the end: {outcome.counters}"]),
                *outcome.findings,
            )
        ]


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The smallest value that so many per cent of the values do not exceed; None: there are none."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None


def _recoveries(faults: Sequence[dict[str, Any]]) -> list[float]:
    return [fault["recovery_s"] for fault in faults if fault["recovery_s"] is not None]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
