"""What is owed: for every history, the policies say the same as a naive list of all slots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_schedules.owed import Plan, plan
from beat_schedules.times import Cron, Every, Once

SECOND = Every(every=1.0)


def owed(catch_up: str = "one", *, owed_ms: int, now_ms: int, most: int = 100, waits: bool = False) -> Plan:
    """A plan for an entry that is due each second, with ten seconds of grace."""
    return plan(
        SECOND, owed_ms=owed_ms, now_ms=now_ms, grace_ms=10_000, catch_up=catch_up, most=most, waits=waits  # type: ignore[arg-type]
    )  # fmt: skip


def test_what_is_on_time_is_sent_slot_by_slot() -> None:
    """Also after a failover of a few seconds, under every policy."""
    for catch_up in ("skip", "one", "all"):
        assert owed(catch_up, owed_ms=5000, now_ms=8500) == Plan((5000, 6000, 7000, 8000), 0, 9000)


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [("skip", Plan((), 3_600_000, 7_200_000)), ("one", Plan((3_600_000,), 0, 7_200_000))],
)
def test_a_single_missed_slot(catch_up: str, expected: Plan) -> None:
    """An hourly entry, ten minutes late."""
    hourly = Every(every=3600.0)
    found = plan(
        hourly, owed_ms=3_600_000, now_ms=4_200_000, grace_ms=10_000, catch_up=catch_up, most=5  # type: ignore[arg-type]
    )  # fmt: skip
    assert found == expected


def test_one_stands_for_all_that_were_missed() -> None:
    """The latest; and none, if a later one is to be sent anyway."""
    hourly = Every(every=3600.0)
    found = plan(hourly, owed_ms=3_600_000, now_ms=11_400_000, grace_ms=10_000, catch_up="one", most=5)
    assert found == Plan((10_800_000,), 7_200_000, 14_400_000)
    recent = owed("one", owed_ms=1000, now_ms=60_000)
    assert recent == Plan(tuple(range(50_000, 61_000, 1000)), 49_000, 61_000)


def test_all_is_bounded() -> None:
    """The latest count; a few at a time."""
    found = owed("all", owed_ms=1000, now_ms=100_000, most=5)
    assert found == Plan((*range(85_000, 90_000, 1000), *range(90_000, 101_000, 1000)), 84_000, 101_000)
    many = owed("all", owed_ms=1000, now_ms=1_000_000, most=1000)
    assert many.send == tuple(range(1000, 51_000, 1000))
    assert (many.missed_ms, many.next_ms) == (0, 51_000)


def test_who_waited_sends_the_latest() -> None:
    """It stands for those that came due meanwhile, however late."""
    assert owed("skip", owed_ms=1000, now_ms=100_000, waits=True) == Plan((100_000,), 99_000, 101_000)


def test_a_one_shot_has_no_next() -> None:
    """Late, it is caught up or not."""
    once = Once.model_validate({"at": "2024-01-01T00:00:00Z"})
    at_ms = 1_704_067_200_000
    for catch_up, expected in (("one", Plan((at_ms,), 0, 0)), ("skip", Plan((), at_ms, 0))):
        found = plan(
            once, owed_ms=at_ms, now_ms=at_ms + 60_000, grace_ms=10_000, catch_up=catch_up, most=1  # type: ignore[arg-type]
        )  # fmt: skip
        assert found == expected


def test_a_long_absence_costs_little() -> None:
    """Years of minutes are not counted one by one."""
    minutely = Cron(cron="* * * * *")
    now_ms = 1_704_067_200_000
    found = plan(minutely, owed_ms=60_000, now_ms=now_ms, grace_ms=10_000, catch_up="all", most=3)
    assert found.send == (now_ms - 180_000, now_ms - 120_000, now_ms - 60_000, now_ms)
    assert (found.missed_ms, found.next_ms) == (now_ms - 240_000, now_ms + 60_000)


@given(
    st.integers(1, 500), st.integers(0, 2000), st.integers(1, 300),
    st.sampled_from(["skip", "one", "all"]), st.integers(1, 40), st.integers(100, 9000),
)  # fmt: skip
def test_it_agrees_with_a_naive_list(first: int, late: int, grace: int, catch_up: str, most: int, step: int) -> None:
    """Over as many ticks as it takes, at one time."""
    every, owed_ms = Every(every=step / 1000), first * 100
    now_ms, grace_ms = owed_ms + late * 100, grace * 100
    slots = list(range(owed_ms, now_ms + 1, step))
    recent = [slot for slot in slots if slot >= now_ms - grace_ms]
    missed = [slot for slot in slots if slot < now_ms - grace_ms]
    kept = {"skip": [], "one": [] if recent else missed[-1:], "all": missed[-most:]}[catch_up]
    sent: list[int] = []
    at = owed_ms
    while at <= now_ms:
        found = plan(
            every, owed_ms=at, now_ms=now_ms, grace_ms=grace_ms, catch_up=catch_up, most=most  # type: ignore[arg-type]
        )  # fmt: skip
        assert found.next_ms > at
        assert len(found.steps) == len(found.send)
        sent += found.send
        at = found.next_ms
    assert sent == kept + recent
    assert at == slots[-1] + step
