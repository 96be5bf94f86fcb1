"""Errors about schedules: a branch of the tree that :mod:`hardening.core.errors` draws.

::

    ScheduleError
    ├── ScheduleRefused        a definition cannot be a schedule
    ├── ScheduleExists         the name is taken
    ├── ScheduleNotFound       no such entry
    └── ScheduleDeclared       code or a file declares it, so it is changed there
"""

from __future__ import annotations

from hardening.core.root_error import HardeningError

__all__ = ["ScheduleDeclared", "ScheduleError", "ScheduleExists", "ScheduleNotFound", "ScheduleRefused"]


class ScheduleError(HardeningError):
    """Something about one schedule entry.

    Attributes:
        entry: its name.
    """

    def __init__(self, entry: str, text: str) -> None:
        self.entry = entry
        super().__init__(text)


class ScheduleRefused(ScheduleError):
    """A definition cannot be a schedule.

    Attributes:
        why: what is wrong, in one line.
    """

    def __init__(self, entry: str, why: str) -> None:
        self.why = why
        super().__init__(entry, f"schedule {entry!r} is refused: {why}")


class ScheduleExists(ScheduleError):
    """The name is taken."""

    def __init__(self, entry: str) -> None:
        super().__init__(entry, f"there is a schedule {entry!r} already: choose another name, or update it")


class ScheduleNotFound(ScheduleError):
    """No such entry."""

    def __init__(self, entry: str) -> None:
        super().__init__(entry, f"no schedule {entry!r}: see celery schedules list")


class ScheduleDeclared(ScheduleError):
    """Code or a file declares it, so it is changed there. It may be paused, and run out of turn."""

    def __init__(self, entry: str) -> None:
        super().__init__(
            entry, f"schedule {entry!r} is declared by code or a file: change it there, or pause it meanwhile"
        )
