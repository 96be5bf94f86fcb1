"""An entry as it stands in Redis, and what became of its last slots."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from beat_schedules.definition import Definition
from beat_schedules.errors import ScheduleRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

from beat_schedules.times import time_of

__all__ = ["Entry", "Past"]

#: Slots beyond this are no times to Python.
_LAST_MS = 253_402_300_000_000


@dataclass(frozen=True)
class Entry:
    """One schedule entry. Nothing in it is trusted, and nothing in it can make reading fail.

    Attributes:
        name: its name.
        fields: as the hash has them.
    """

    name: str
    fields: Mapping[bytes, bytes]

    def _text(self, field: str) -> str:
        return self.fields.get(field.encode(), b"").decode("utf-8", "replace")

    def _ms(self, field: str) -> int:
        text = self._text(field)
        return min(int(text), _LAST_MS) if text.isascii() and text.isdigit() and len(text) < len(str(2**63)) else 0

    @cached_property
    def definition(self) -> Definition | None:
        """What it is; None: that cannot be read."""
        try:
            return Definition.read(self.name, self._text("definition"))
        except ScheduleRefused:
            return None

    @property
    def origin(self) -> str:
        """Who said it: ``code``, ``file`` or ``runtime``."""
        return self._text("origin")

    @property
    def owner(self) -> str:
        """With whose end it ends; empty: nobody's."""
        return self._text("owner")

    @property
    def fault(self) -> str:
        """Why it is in quarantine; empty: it is not."""
        return self._text("fault")

    @property
    def error(self) -> str:
        """Why its next slot could not be sent so far; empty: nothing was wrong."""
        return self._text("error")

    @property
    def attempts(self) -> int:
        """How often that was."""
        return self._ms("attempts")

    @property
    def is_paused(self) -> bool:
        """Whether it was paused."""
        return self._text("paused") == "1"

    @property
    def receipt(self) -> str:
        """The receipt of the last slot that was sent; empty: none was."""
        return self._text("receipt")

    @property
    def next_at(self) -> datetime | None:
        """The first slot it owes, past or to come; None: there is none."""
        return time_of(self._ms("slot_ms")) if self._ms("slot_ms") else None

    @property
    def last_at(self) -> datetime | None:
        """The last slot that was sent or buried; None: none was."""
        return time_of(self._ms("sent_ms")) if self._ms("sent_ms") else None

    @property
    def state(self) -> str:
        """In one word: ``active``, ``paused``, ``failing``, ``waiting``, ``finished`` or ``quarantined``."""
        if self.fault or self.definition is None:
            return "quarantined"
        if self.is_paused:
            return "paused"
        if self.next_at is None:
            return "finished"
        if self.attempts:
            return "failing"
        return "waiting" if self._text("waits") == "1" else "active"


@dataclass(frozen=True, slots=True)
class Past:
    """What became of a slot.

    Attributes:
        at: when, by the clock of Redis.
        what: ``sent``, ``missed``, ``overlapped``, ``buried`` or ``run_now``.
        slot: which; of ``missed`` the last.
        id: of its receipt, or of its dead letter; empty: it has none.
    """

    at: datetime
    what: str
    slot: datetime
    id: str

    @classmethod
    def read(cls, line: bytes) -> Past | None:
        """Out of a line of the history; None: it is none."""
        parts = line.decode("utf-8", "replace").split(" ")
        try:
            at, what, slot, identity = parts
            return cls(time_of(int(at)), what, time_of(int(slot)), identity)
        except (ValueError, OverflowError):
            return None
