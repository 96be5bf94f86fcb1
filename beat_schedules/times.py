"""When an entry is due: an interval, a crontab, the sun, or once. In JSON each is an object with one key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from celery import schedules
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from beat_schedules.crontab import Clock
from beat_schedules.solar import Sun, SunEvent

__all__ = ["Cron", "Every", "Once", "Solar", "Times", "ms_of", "time_of", "zone_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_YEAR_S = 31_536_000.0
#: minute, hour, day of month, month, day of week; as ``crontab(5)`` has them.
_FIELDS = 5


def ms_of(at: datetime) -> int:
    """A time in ms since the epoch."""
    return (at - _EPOCH) // _MS


def time_of(at_ms: int) -> datetime:
    """The same the other way round, in UTC."""
    return _EPOCH + at_ms * _MS


def zone_of(name: str) -> tzinfo:
    """A time zone by its name.

    Raises:
        ValueError: there is none.
    """
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"there is no time zone {name!r}: expected a name such as Europe/Berlin") from error


class _Times(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def next_after(self, after_ms: int, anchor_ms: int) -> int | None:
        """The first slot later than a time, both in ms since the epoch.

        Args:
            after_ms: the time.
            anchor_ms: a slot of the same entry, or when it was added, from which an interval counts.

        Returns:
            None: there is none.
        """
        raise NotImplementedError


class Every(_Times):
    """A slot every so many seconds, counted from the first, without drift."""

    #: How many seconds.
    every: float = Field(ge=0.1, le=10 * _YEAR_S)

    def next_after(self, after_ms: int, anchor_ms: int) -> int | None:
        """The next one on the grid."""
        step = max(1, round(self.every * 1000))
        return anchor_ms + ((after_ms - anchor_ms) // step + 1) * step

    def __str__(self) -> str:
        return f"every {self.every:g} s"


class Cron(_Times):
    """The minutes that a crontab matches, on the clock of a place; see :mod:`beat_schedules.crontab`."""

    #: ``minute hour day-of-month month day-of-week``; all of them must match, as in Celery.
    cron: str = Field(max_length=2000)
    #: The name of the place's time zone.
    timezone: str = "UTC"

    @model_validator(mode="after")
    def _is_cron(self) -> Self:
        if len(self.cron.split()) != _FIELDS:
            raise ValueError(f"cron is {self.cron!r}, expected 5 fields: minute hour day-of-month month day-of-week")
        try:
            schedules.crontab.from_string(" ".join(self.cron.split()))
        except (ValueError, TypeError, schedules.ParseException) as error:
            raise ValueError(f"cron is {self.cron!r}: {error}") from error
        zone_of(self.timezone)
        return self

    @cached_property
    def _clock(self) -> Clock:
        parsed: Any = schedules.crontab.from_string(" ".join(self.cron.split()))
        return Clock(
            minutes=frozenset(parsed.minute),
            hours=frozenset(parsed.hour),
            weekdays=frozenset(parsed.day_of_week),
            days=frozenset(parsed.day_of_month),
            months=frozenset(parsed.month_of_year),
            is_hourly=self.cron.split()[1].startswith("*"),
            zone=zone_of(self.timezone),
        )

    def next_after(self, after_ms: int, anchor_ms: int) -> int | None:  # noqa: ARG002 - a crontab has no anchor
        """The next minute that matches."""
        found = self._clock.next_after(time_of(after_ms))
        return None if found is None else ms_of(found)

    def __str__(self) -> str:
        return f"{self.cron} ({self.timezone})"


class Solar(_Times):
    """An event of the sun at a place; see :mod:`beat_schedules.solar`."""

    #: Which: ``sunrise``, ``solar_noon``, ``dusk_civil``, ...
    solar: SunEvent
    #: Degrees north.
    lat: float = Field(ge=-90, le=90)
    #: Degrees east.
    lon: float = Field(ge=-180, le=180)

    def next_after(self, after_ms: int, anchor_ms: int) -> int | None:  # noqa: ARG002 - the sun has no anchor
        """The next one."""
        found = Sun(self.solar, self.lat, self.lon).next_after(time_of(after_ms))
        return None if found is None else ms_of(found)

    def __str__(self) -> str:
        return f"{self.solar} at {self.lat:g}, {self.lon:g}"


class Once(_Times):
    """One slot."""

    #: When, with its offset from UTC.
    at: datetime

    @model_validator(mode="after")
    def _is_aware(self) -> Self:
        if self.at.tzinfo is None:
            raise ValueError(f"at is {self.at.isoformat()}, expected a time with its offset: 2030-01-01T09:00:00+01:00")
        return self

    def next_after(self, after_ms: int, anchor_ms: int) -> int | None:  # noqa: ARG002 - counts from nothing
        """It, if it is still to come."""
        at_ms = ms_of(self.at)
        return at_ms if at_ms > after_ms else None

    def __str__(self) -> str:
        return f"once at {self.at.isoformat()}"


def _kind(value: Any) -> str:
    """Which of them an object is, by the key that only it has."""
    names = ("every", "cron", "solar")
    is_mapping = isinstance(value, dict)
    return next((name for name in names if (name in value if is_mapping else hasattr(value, name))), "at")


#: Any of them; which, is told by the key that only it has.
Times = Annotated[
    Annotated[Every, Tag("every")]
    | Annotated[Cron, Tag("cron")]
    | Annotated[Solar, Tag("solar")]
    | Annotated[Once, Tag("at")],
    Discriminator(_kind),
]
