"""Scores and alerts, beside naive ones."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.health import Alerts, Limit, score_of, scores_of
from workers.machine import look_at_machine
from workers.readings import Before, _error_rate, _share

if TYPE_CHECKING:
    from pathlib import Path

_LIMIT = Limit(resolve=2, raise_at=5, for_looks=2)


@given(st.lists(st.one_of(st.none(), st.integers(0, 7)), max_size=40), st.lists(st.integers(0, 39), max_size=6))
def test_an_alert_is_told_once_raised_and_once_resolved(values: list[int | None], silences: list[int]) -> None:
    """As a naive reading of the last values says; silence holds back what is raised, and what was never told."""
    alerts, told, is_raised, known, was_told = Alerts(), [], False, [], False
    silent_until = -1
    for now, value in enumerate(values):
        if now in silences:
            alerts.silence("depth", now + 3)
            silent_until = now + 3
        alerts.look({} if value is None else {"depth": value}, {"depth": _LIMIT}, now)
        if value is not None:
            known.append(value)
            last = known[-2:]
            if not is_raised and len(last) == 2 and min(last) >= 5:
                is_raised, known = True, []
            elif is_raised and len(last) == 2 and max(last) <= 2:
                is_raised, known = False, []
                if was_told:
                    told.append("resolved")
                was_told = False
        if is_raised and not was_told and now >= silent_until:
            was_told = True
            told.append("raised")
        alerts = Alerts.model_validate_json(alerts.model_dump_json())
        assert [one.what for one in alerts.news] == told
        assert set(alerts.raised) == ({"depth"} if is_raised else set())
    assert [one.number for one in alerts.news] == list(range(1, len(told) + 1))
    assert all(before != after for before, after in pairwise(told))


def test_what_nobody_was_told_of_is_not_resolved_for_them() -> None:
    """It came and went in silence."""
    alerts = Alerts()
    alerts.silence("depth", 100)
    for now, value in enumerate([9, 9, 1, 1, 1]):
        alerts.look({"depth": value}, {"depth": _LIMIT}, now)
    assert (len(alerts.past), alerts.raised, alerts.news) == (1, {}, [])


def test_an_alert_knows_its_worst() -> None:
    """And when it was; one whose limit is gone is resolved, and what is past is bounded."""
    alerts = Alerts()
    for now, value in enumerate([5, 6, 9, 4, 2, 1]):
        alerts.look({"depth": value}, {"depth": _LIMIT}, now)
    (past,) = alerts.past
    assert (past.worst, past.value, past.raised_s, past.resolved_s, alerts.raised) == (9, 1, 1, 5, {})
    for now in range(202):
        alerts.look({"depth": 9}, {"depth": _LIMIT} if now % 2 else {"depth": _LIMIT, "x": _LIMIT}, now)
        alerts.look({"depth": 9}, {"depth": _LIMIT}, now)
        alerts.look({}, {}, now)
    assert len(alerts.past) == 100
    assert not alerts.raised


@given(st.floats(-1e6, 1e6))
def test_a_score_falls_from_good_over_half_to_nothing(value: float) -> None:
    """And is never outside."""
    score = score_of(value, _LIMIT)
    assert 0 <= score <= 1
    assert (score == 1) == (value <= 2) or abs(value - 2) < 1e-6
    assert (score_of(5, _LIMIT), score_of(8, _LIMIT)) == (0.5, 0)
    assert score_of(value + 1, _LIMIT) <= score
    assert scores_of({"depth": 5, "other": 1}, {"depth": _LIMIT, "none": _LIMIT}) == {"depth": 0.5}


def test_limits_that_make_no_sense_are_refused() -> None:
    """An alert must be resolved below where it is raised."""
    with pytest.raises(ValueError, match="resolve is 5, expected less than raise_at, which is 5"):
        Limit(resolve=5, raise_at=5)


def test_errors_are_counted_of_enough_messages() -> None:
    """And counters that were reset tell of none."""
    assert _error_rate([(0, 0), (3, 3), (6, 4)]) == 0.4
    assert _error_rate([(0, 0), (3, 3)]) == 0
    assert _error_rate([(100, 100), (0, 0)]) == 0


def test_processors_are_compared_on_one_machine() -> None:
    """Since it was booted."""
    before = Before(boot="a", busy=10, total=100)
    assert _share(before, "a", 60, 200) == 0.5
    assert (_share(before, "b", 60, 200), _share(before, "a", 10, 100), _share(Before(), "", 60, 200)) == (None,) * 3


def test_a_machine_is_read(tmp_path: Path) -> None:
    """Its processors, its memory, or its container's, and its disk; what cannot be read is unknown."""
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    assert look_at_machine(str(tmp_path / "nowhere"), proc, cgroup) == ("", 0, 0, None, None)
    (proc / "sys/kernel/random").mkdir(parents=True)
    (proc / "sys/kernel/random/boot_id").write_text("b00\n")
    (proc / "stat").write_text("cpu  10 1 5 70 10 1 1 2 0 0\ncpu0 1 1 1 1\n")
    (proc / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n")
    seen = look_at_machine(str(tmp_path), proc, cgroup)
    assert seen[:4] == ("b00", 20, 100, 0.75)
    assert seen.disk is not None
    assert 0 < seen.disk < 1
    cgroup.mkdir()
    (cgroup / "memory.max").write_text("1000\n")
    (cgroup / "memory.current").write_text("700\n")
    (cgroup / "memory.stat").write_text("anon 5\ninactive_file 200\n")
    assert look_at_machine(str(tmp_path), proc, cgroup).memory == 0.5
    (cgroup / "memory.max").write_text("max\n")
    assert look_at_machine(str(tmp_path), proc, cgroup).memory == 0.75
