"""Live progress: a moving picture on a terminal, lines in a pipe."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from examples.webhooks.broker import Counts

__all__ = ["Screen"]

#: How often a pipe gets a line of numbers, in seconds.
_LINE_S = 5.0


class Screen:
    """Shows how a run goes.

    Args:
        console: where.
        total: how many events there are.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._began_s = time.monotonic()
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._line_due_s = 0.0

    def __enter__(self) -> Self:
        """Starts the moving picture."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        if self._live:
            self._live.stop()

    @property
    def elapsed_s(self) -> float:
        """Since the run began, in seconds."""
        return time.monotonic() - self._began_s

    def tell(self, text: str) -> None:
        """Something happened that is worth a line."""
        self._console.print(Text(f"{self.elapsed_s:5.1f} s  {text}"))

    def show(self, counts: Counts, *, sent: int, received: int, kills: int) -> None:
        """The numbers of this moment."""
        numbers = {
            "sent": sent,
            "received": received,
            "queued": counts.queued,
            "scheduled": counts.scheduled,
            "in flight": counts.in_flight,
            "acked": counts.acked,
            "dead": counts.dead,
            "recovered": counts.recovered,
            "kills": kills,
        }
        if self._live:
            self._live.update(self._picture(numbers, received))
        elif self.elapsed_s >= self._line_due_s:
            self._line_due_s = self.elapsed_s + _LINE_S
            self.tell(_line(numbers))

    def _picture(self, numbers: dict[str, int | None], received: int) -> Group:
        bar = Table.grid(padding=(0, 1), expand=False)
        bar.add_row(
            f"{self.elapsed_s:5.1f} s ",
            ProgressBar(total=self._total, completed=received, width=40),
            f"{received:,} of {self._total:,} received",
        )
        table = Table.grid(padding=(0, 2), expand=False)
        shown = {name: value for name, value in numbers.items() if name != "received"}
        table.add_row(*(Text("-" if value is None else f"{value:,}", style="bold") for value in shown.values()))
        table.add_row(*(Text(name, style="dim") for name in shown))
        return Group(bar, table)


def _line(numbers: dict[str, int | None]) -> str:
    """The numbers in less than 70 characters."""
    numbers["queued"] = (numbers["queued"] or 0) + (numbers["scheduled"] or 0)
    names = ["queued", "in flight", "received" if numbers["acked"] is None else "acked", "dead", "recovered", "kills"]
    return ", ".join(f"{name} {numbers[name]}" for name in names if numbers[name] is not None)
