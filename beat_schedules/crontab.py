"""The slots of a crontab in a time zone, on both days a year on which clocks change.

A crontab names times on the clock of a place. With the hour left open (``*``, ``*/2``) a slot is each minute that its
clock shows and that matches: an hour that is skipped has none, one that comes twice has them twice. With the hour
named, each matching time of each day is one slot: a time that is skipped comes as much later as the clock was put
forward (PEP 495), one that comes twice counts the first time. So a nightly job runs once each night, and a quarter-
hourly one each quarter of an hour. Vixie's cron tells both kinds apart in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

__all__ = ["Clock"]

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
#: Clocks are put forward by three hours at most.
_MOST_SHIFT = timedelta(hours=3)
#: Any crontab that has slots has one within so many years: 29 February is a certain weekday every 40 at the latest.
_MOST_YEARS = 41


@dataclass(frozen=True)
class Clock:
    """What a crontab matches, on the clock of a place.

    Attributes:
        minutes: of the hour.
        hours: of the day.
        weekdays: Sunday is 0.
        days: of the month.
        months: of the year.
        is_hourly: the hour is left open.
        zone: the place.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    weekdays: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    is_hourly: bool
    zone: tzinfo

    def next_after(self, after: datetime) -> datetime | None:
        """The first slot later than a time; both in UTC. None: there is none."""
        at = after.replace(second=0, microsecond=0) + _MINUTE
        last_year = at.year + _MOST_YEARS
        while at.year < last_year:
            ends = at.replace(minute=0) + _HOUR
            offset = self._offset(at)
            if self._offset(at - _MOST_SHIFT) == offset == self._offset(ends):
                found, ahead = self._on_even_clock(at, ends, offset)
            else:
                found, ahead = next((one for one in _minutes(at, ends) if self._is_slot(one)), None), ends
            if found is not None:
                return found
            at = max(ends, ahead)
        return None

    def _offset(self, at: datetime) -> timedelta:
        return at.astimezone(self.zone).utcoffset() or timedelta()

    def _on_even_clock(self, at: datetime, ends: datetime, offset: timedelta) -> tuple[datetime | None, datetime]:
        """The first slot of an hour in which nothing changes the clock; and where to look on if there is none."""
        local, local_end = (at + offset).replace(tzinfo=None), (ends + offset).replace(tzinfo=None)
        hour = local.replace(minute=0)
        while hour < local_end:
            for minute in sorted(self.minutes) if hour.hour in self.hours and self._is_day(hour) else ():
                found = hour + timedelta(minutes=minute)
                if local <= found < local_end:
                    return (found - offset).replace(tzinfo=UTC), ends
            hour += _HOUR
        ahead = (self._hour_from(local_end.replace(minute=0)) - offset).replace(tzinfo=UTC)
        return None, ahead - _MOST_SHIFT - _HOUR  # the clock may have been changed by then

    def _hour_from(self, hour: datetime) -> datetime:
        """The next local hour that matches, as if nothing ever changed the clock."""
        last_year = hour.year + _MOST_YEARS
        while hour.year < last_year:
            if hour.month not in self.months:
                hour = (hour.replace(day=1, hour=0) + timedelta(days=32)).replace(day=1)
            elif not self._is_day(hour):
                hour = hour.replace(hour=0) + timedelta(days=1)
            elif hour.hour not in self.hours:
                hour += _HOUR
            else:
                break
        return hour

    def _is_slot(self, at: datetime) -> bool:
        local = at.astimezone(self.zone)
        if self.is_hourly:
            return self._matches(local)
        if self._matches(local) and local.fold == 0:
            return True
        before = self._offset(at - _MOST_SHIFT)
        if before >= self._offset(at):
            return False
        # the clock was put forward: what it would show now, if that was skipped
        skipped = (at + before).replace(tzinfo=self.zone, fold=0)
        back = skipped.astimezone(UTC)
        is_skipped = back.astimezone(self.zone).replace(tzinfo=None) != skipped.replace(tzinfo=None)
        return back == at and is_skipped and self._matches(skipped)

    def _matches(self, local: datetime) -> bool:
        return local.minute in self.minutes and local.hour in self.hours and self._is_day(local)

    def _is_day(self, local: datetime) -> bool:
        return (
            local.month in self.months and local.day in self.days and local.isoweekday() % 7 in self.weekdays
        )  # fmt: skip


def _minutes(begin: datetime, end: datetime) -> Iterator[datetime]:
    at = begin
    while at < end:
        yield at
        at += _MINUTE
