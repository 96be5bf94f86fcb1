"""Crontabs: the slots found are those that a naive count of every minute finds, on every day of the year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beat_schedules.times import Cron, ms_of, time_of

MINUTE = timedelta(minutes=1)
#: A zone, and a time near which its clock is changed: forward and back, by an hour, half an hour and two.
CHANGES = [
    ("Europe/Berlin", datetime(2024, 3, 31, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2024, 10, 27, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2024, 3, 10, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2024, 11, 3, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2024, 4, 6, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2024, 10, 5, 15, 30, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2024, 3, 31, 1, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2024, 10, 27, 1, tzinfo=UTC)),
    ("America/Santiago", datetime(2024, 9, 8, 4, tzinfo=UTC)),  # at midnight: a day begins at one
    ("Asia/Kathmandu", datetime(2024, 5, 1, tzinfo=UTC)),  # never, and at a quarter
    ("UTC", datetime(2024, 2, 28, 23, tzinfo=UTC)),
]
DAYS = timedelta(days=3)


def matches(fields: tuple[str, str], local: datetime) -> bool:
    """Whether a wall clock shows what minute and hour ask for."""
    return all(_has(field, value) for field, value in zip(fields, (local.minute, local.hour), strict=True))


def _has(field: str, value: int) -> bool:
    head, _, step = field.partition("/")
    return value % int(step or 1) == 0 if head == "*" else value in {int(one) for one in field.split(",")}


@cache
def clock(zone: str, middle: datetime) -> list[tuple[datetime, datetime]]:
    """Every minute of some days in UTC, with what the clock shows."""
    begin = middle - DAYS
    return [
        (at, at.astimezone(ZoneInfo(zone))) for at in (begin + MINUTE * n for n in range(int(2 * DAYS / MINUTE) + 1))
    ]  # fmt: skip


def naive(fields: tuple[str, str], zone: str, middle: datetime) -> list[datetime]:
    """All slots of these days: counted by what the clock shows; or, where the hour is named, by the calendar."""
    if fields[1].startswith("*"):
        return [at for at, local in clock(zone, middle) if matches(fields, local)]
    begin, end = middle - DAYS, middle + DAYS
    wall = (begin - timedelta(days=1)).replace(tzinfo=None)
    found = set()
    while wall < (end + timedelta(days=1)).replace(tzinfo=None):
        if matches(fields, wall):
            found.add(wall.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC))
        wall += MINUTE
    return sorted(at for at in found if begin <= at <= end)


minutes = st.sampled_from(["*", "*/15", "*/7", "0", "30", "59", "0,30", "5,10,55"])
hours = st.sampled_from(["*", "*/2", "*/3", "0", "1", "2", "3", "23", "1,2,3", "0,2", "1,13"])


@settings(max_examples=40, deadline=None)
@given(minutes, hours, st.sampled_from(CHANGES))
def test_the_slots_are_those_of_a_naive_count(minute: str, hour: str, change: tuple[str, datetime]) -> None:
    """One after the other, across a change of the clock."""
    zone, middle = change
    expected = naive((minute, hour), zone, middle)
    cron = Cron(cron=f"{minute} {hour} * * *", timezone=zone)
    at_ms: int | None = ms_of(middle - DAYS) - 1
    found = []
    while at_ms is not None and (at_ms := cron.next_after(at_ms, 0)) is not None and at_ms <= ms_of(middle + DAYS):
        found.append(time_of(at_ms))
    assert found == expected


@settings(max_examples=40, deadline=None)
@given(minutes, hours, st.sampled_from(CHANGES), st.integers(0, int(2 * DAYS / timedelta(milliseconds=1))))
def test_the_next_slot_is_the_same_from_any_moment(
    minute: str, hour: str, change: tuple[str, datetime], offset_ms: int
) -> None:
    """It does not depend on which slot came before."""
    zone, middle = change
    at = middle - DAYS + timedelta(milliseconds=offset_ms)
    expected = next((slot for slot in naive((minute, hour), zone, middle) if slot > at), None)
    found = Cron(cron=f"{minute} {hour} * * *", timezone=zone).next_after(ms_of(at), 0)
    if expected is not None:
        assert found == ms_of(expected)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # put forward at 02:00: 02:30 does not exist, the nightly job runs an hour later by the clock
        ("30 2 * * *", "Europe/Berlin", "2024-03-30T12:00Z", "2024-03-31T01:30Z"),
        ("30 2 * * *", "Europe/Berlin", "2024-03-31T01:30Z", "2024-04-01T00:30Z"),
        # put back at 03:00: 02:30 comes twice, the nightly job runs the first time
        ("30 2 * * *", "Europe/Berlin", "2024-10-26T12:00Z", "2024-10-27T00:30Z"),
        ("30 2 * * *", "Europe/Berlin", "2024-10-27T00:30Z", "2024-10-28T01:30Z"),
        # each half hour runs each half hour
        ("*/30 * * * *", "Europe/Berlin", "2024-10-27T00:30Z", "2024-10-27T01:00Z"),
        ("*/30 * * * *", "Europe/Berlin", "2024-10-27T01:00Z", "2024-10-27T01:30Z"),
        ("*/30 * * * *", "Europe/Berlin", "2024-03-31T00:30Z", "2024-03-31T01:00Z"),
        # put forward by half an hour, at half past an hour of UTC
        ("5 * * * *", "Australia/Lord_Howe", "2024-10-05T15:10Z", "2024-10-05T16:05Z"),
        # rare ones
        ("0 0 29 2 *", "UTC", "2024-03-01T00:00Z", "2028-02-29T00:00Z"),
        ("0 0 29 2 1", "UTC", "2024-03-01T00:00Z", "2044-02-29T00:00Z"),
        ("0 9 1 1 *", "Asia/Tokyo", "2024-01-01T00:00Z", "2025-01-01T00:00Z"),
        ("15 8 * * mon-fri", "America/New_York", "2024-06-07T13:00Z", "2024-06-10T12:15Z"),
        ("0 12 31 * *", "UTC", "2024-04-01T00:00Z", "2024-05-31T12:00Z"),
        ("59 23 31 12 *", "Pacific/Kiritimati", "2024-12-31T10:00Z", "2025-12-31T09:59Z"),
    ],
)
def test_the_next_slot_of(cron: str, zone: str, after: str, expected: str) -> None:
    """By hand."""
    found = Cron(cron=cron, timezone=zone).next_after(ms_of(datetime.fromisoformat(after)), 0)
    assert found is not None
    assert time_of(found) == datetime.fromisoformat(expected)


def test_a_day_that_never_comes_has_no_slot() -> None:
    """29 February on no weekday that it can be within the years that are looked at."""
    cron = Cron.model_construct(cron="0 0 30 2 *", timezone="UTC")
    clock_of = Cron(cron="0 0 29 2 *")._clock
    never = type(clock_of)(
        minutes=frozenset({0}), hours=frozenset({0}), weekdays=frozenset({0}), days=frozenset({30}),
        months=frozenset({2}), is_hourly=False, zone=UTC,
    )  # fmt: skip
    assert never.next_after(datetime(2024, 1, 1, tzinfo=UTC)) is None
    assert cron.cron == "0 0 30 2 *"


@pytest.mark.parametrize(
    ("cron", "zone", "told"),
    [
        ("* * * *", "UTC", "expected 5 fields"),
        ("61 * * * *", "UTC", "61"),
        ("x * * * *", "UTC", "x"),
        ("0 0 30 2 *", "UTC", "30"),
        ("0 0 * * *", "Mars/Olympus", "there is no time zone 'Mars/Olympus'"),
        ("0 0 * * *", "/etc/passwd", "there is no time zone"),
    ],
)
def test_what_is_no_crontab_is_refused(cron: str, zone: str, told: str) -> None:
    """With what is wrong about it."""
    with pytest.raises(ValueError, match=told):
        Cron(cron=cron, timezone=zone)
