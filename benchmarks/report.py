"""What a run came to, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from benchmarks.machine import is_busy
from benchmarks.row import Row, shown

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from benchmarks.sample import Ratio, Sample

__all__ = ["Report"]


@dataclass
class Report:
    """Every number of a run.

    Attributes:
        about: the machine, see :func:`benchmarks.machine.describe`.
        is_quick: whether sizes were small.
        rows: by measure.
        failures: by measure, one line each.
        notes: by measure, what it does.
        took_s: the whole run, in seconds.
    """

    about: dict[str, Any]
    is_quick: bool
    rows: dict[str, list[Row]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    took_s: float = 0.0

    @property
    def missed(self) -> list[str]:
        """The rows whose target was missed."""
        return [f"{measure}: {row.name}" for measure, rows in self.rows.items() for row in rows if row.is_met is False]

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "schema": 1,
            **self.about,
            "quick": self.is_quick,
            "took_s": round(self.took_s, 1),
            "measures": {
                measure: {"about": self.notes.get(measure, ""), "rows": [row.to_json() for row in rows]}
                for measure, rows in self.rows.items()
            },
            "failed": self.failures,
            "missed": self.missed,
        }

    def write(self, path: Path) -> None:
        """Writes it as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text(json.dumps(self.to_json(), indent=2) + "\n")
        draft.replace(path)

    def print(self, console: Console) -> None:
        """Writes it for people; no wider than 80 columns where the console is not."""
        console.print(self._table())
        for measure, note in self.notes.items():
            console.print(Text.assemble("\n", (measure, "bold"), f": {note}"))
        console.print(Text(f"\n{self._circumstances()}"))
        for measure, line in self.failures.items():
            console.print(Text(f"FAILED {measure}: {line}", "bold red"), soft_wrap=True)

    def _table(self) -> Table:
        table = Table(title="Hardened against stock Celery", title_justify="left", box=None, padding=(0, 1, 0, 0))
        table.add_column("median, least..greatest", overflow="fold")
        for name in ("stock", "hardened", "ratio", "target"):
            table.add_column(name, justify="right", overflow="fold")
        for measure, rows in self.rows.items():
            table.add_row()
            table.add_row(Text(measure, "bold"))
            for row in rows:
                table.add_row(f"  {row.name}", _cell(row.stock, row.unit), _cell(row.hardened, row.unit), *_aim(row))
        for measure in self.failures:
            table.add_row()
            table.add_row(Text(measure, "bold"), "", Text("failed", "bold red"))
        return table

    def _circumstances(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.about["versions"].items())
        commit = f", commit {self.about['commit']}" if self.about["commit"] else ""
        text = f"{self.about['cpu_count']} x {self.about['cpu']}; {versions}; {self.about['date']}{commit}"
        text += f"; {'quick run, ' if self.is_quick else ''}{self.took_s:.0f} s."
        if self.about["placement"]:
            text += " Workers run wherever they like; any other client and its server have a processor each."
        if is_busy(self.about):
            text += f" The machine was busy when this began (load {self.about['load'][0]:g}): times are too long."
        return text


def _cell(sample: Sample | None, unit: str) -> Text:
    if sample is None:
        return Text("-", "dim")
    return _two_lines(shown(sample.median, unit), sample)


def _aim(row: Row) -> tuple[Text, Text]:
    ratio = row.ratio
    left = _two_lines(shown(ratio.value, "x"), ratio) if ratio else Text("")
    if row.is_met is None:
        return left, Text("")
    verdict = ("met", "green") if row.is_met else ("MISSED", "bold red")
    return left, Text.assemble(f"{row.target_text}\n", verdict)


def _two_lines(median: str, spread: Sample | Ratio) -> Text:
    return Text.assemble(median, "\n", (f"{shown(spread.low)}..{shown(spread.high)}", "dim"))
