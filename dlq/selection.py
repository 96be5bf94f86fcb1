"""Which dead letters are meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dlq.group import ANY

if TYPE_CHECKING:
    from dlq.entry import Entry
    from dlq.group import Group

__all__ = ["Selection", "parse_age"]

_AGE = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d|w)$")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters that all must hold; an empty one lets everything through.

    Attributes:
        reason: why they died.
        task: the task's name; ``*`` and ``?`` match as in file names.
        queue: where they were taken from.
        since: not older than this time.
        limit: at most so many.
        fingerprint: what failed and where, see :func:`hardening.core.fingerprint.fingerprint_of`; ``*`` and ``?``
            match as in file names.
        tasks: the task's name is one of these, see :meth:`dlq.DeadLetters.tasks_of`.
    """

    reason: str | None = None
    task: str | None = None
    queue: str | None = None
    since: datetime | None = None
    limit: int | None = None
    fingerprint: str | None = None
    tasks: frozenset[str] | None = None

    @property
    def is_by_kind(self) -> bool:
        """Whether anything but age and number is asked for."""
        return (self.reason, self.task, self.queue, self.fingerprint, self.tasks) != (None,) * 5

    def matches(self, entry: Entry) -> bool:
        """Whether an entry is meant; ``since`` and ``limit`` are the reader's to keep."""
        return (
            (self.reason is None or entry.reason == self.reason)
            and (self.task is None or fnmatchcase(entry.task, self.task))
            and (self.tasks is None or entry.task in self.tasks)
            and (self.queue is None or entry.queue == self.queue)
            and (self.fingerprint is None or fnmatchcase(entry.fingerprint, self.fingerprint))
        )

    def may_match(self, group: Group) -> bool:
        """Whether there may be an entry in a group that is meant."""
        return (
            _may_be(group.reason, self.reason, is_pattern=False)
            and _may_be(group.task, self.task)
            and (self.tasks is None or group.task == ANY or group.task in self.tasks)
            and _may_be(group.queue, self.queue, is_pattern=False)
            and _may_be(group.fingerprint, self.fingerprint)
        )

    @property
    def first_id(self) -> str:
        """The oldest stream id that may be meant."""
        return "-" if self.since is None else str(max(0, int(self.since.timestamp() * 1000)))


def _may_be(value: str, wanted: str | None, *, is_pattern: bool = True) -> bool:
    if wanted is None or value == ANY:
        return True
    return fnmatchcase(value, wanted) if is_pattern else value == wanted


def parse_age(text: str) -> timedelta:
    """An age as people write it: ``90s``, ``15m``, ``2h``, ``7d``.

    Raises:
        ValueError: it is not one.
    """
    match = _AGE.match(text.strip())
    if match is None:
        raise ValueError(f"expected an age such as 90s, 15m, 2h or 7d, got {text!r}")
    try:
        return timedelta(seconds=float(match[1]) * _UNITS_S[match[2]])
    except OverflowError as error:
        raise ValueError(f"expected an age of less than a billion days, got {text!r}") from error
