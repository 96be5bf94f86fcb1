"""The sun: known times of known places."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from beat_schedules.solar import EVENTS, Sun
from beat_schedules.times import Solar, ms_of, time_of

GREENWICH = (51.4769, 0.0)


@pytest.mark.parametrize(
    ("event", "place", "after", "expected"),
    [
        # HM Nautical Almanac Office and timeanddate.com, to the minute
        ("sunrise", (51.5074, -0.1278), "2024-06-20T00:00Z", "2024-06-20T03:43Z"),
        ("sunset", (51.5074, -0.1278), "2024-06-20T00:00Z", "2024-06-20T20:21Z"),
        ("sunrise", (51.5074, -0.1278), "2024-12-21T00:00Z", "2024-12-21T08:04Z"),
        ("sunset", (51.5074, -0.1278), "2024-12-21T00:00Z", "2024-12-21T15:53Z"),
        ("sunrise", (40.7128, -74.0060), "2024-03-20T00:00Z", "2024-03-20T10:59Z"),
        ("sunset", (40.7128, -74.0060), "2024-03-20T12:00Z", "2024-03-20T23:08Z"),
        ("sunrise", (-33.8688, 151.2093), "2024-01-01T12:00Z", "2024-01-01T18:48Z"),
        ("solar_noon", (52.52, 13.405), "2024-11-03T00:00Z", "2024-11-03T10:50Z"),
        ("dusk_civil", (51.5074, -0.1278), "2024-06-20T12:00Z", "2024-06-20T21:09Z"),
    ],
)
def test_the_sun_is_where_the_almanac_says(event: str, place: tuple[float, float], after: str, expected: str) -> None:
    """Within a minute and a half: an almanac rounds to whole ones."""
    found = Sun(event, *place).next_after(datetime.fromisoformat(after))  # type: ignore[arg-type]
    assert found is not None
    assert abs(found - datetime.fromisoformat(expected)) <= timedelta(seconds=90)


def test_the_events_of_a_day_come_in_their_order() -> None:
    """As they are listed."""
    begin = datetime(2024, 4, 1, tzinfo=UTC)
    found = [Sun(event, *GREENWICH).next_after(begin) for event in EVENTS]  # type: ignore[arg-type]
    assert found == sorted(at for at in found if at is not None)


def test_a_polar_night_ends() -> None:
    """At Tromsoe the sun does not rise between late November and mid January."""
    found = Sun("sunrise", 69.6492, 18.9553).next_after(datetime(2024, 12, 1, tzinfo=UTC))
    assert found is not None
    assert datetime(2025, 1, 13, tzinfo=UTC) < found < datetime(2025, 1, 18, tzinfo=UTC)


def test_what_never_happens_has_no_slot() -> None:
    """No sunset at the pole that a day could be told by."""
    assert Sun("dusk_astronomical", 90.0, 0.0).next_after(datetime(2024, 1, 1, tzinfo=UTC)) is None


def test_each_day_has_one_slot() -> None:
    """None is found twice, whatever the longitude."""
    for lon in (-179.9, -75.0, 0.0, 100.0, 179.9):
        times = Solar(solar="sunset", lat=40.0, lon=lon)
        at_ms, gaps = ms_of(datetime(2024, 1, 1, tzinfo=UTC)), []
        for _ in range(366):
            following = times.next_after(at_ms, 0)
            assert following is not None
            gaps.append((following - at_ms) / 3_600_000)
            at_ms = following
        assert all(23.9 < gap < 24.1 for gap in gaps[1:])
        assert time_of(at_ms).year in (2024, 2025)
