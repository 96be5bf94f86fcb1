"""The bound on repeats: its arithmetic, and to which fault which bound belongs."""

from __future__ import annotations

import pytest

from hardening.transport.intake import DELIVERY_BUDGET_S
from hardening.transport.line import SILENCE_S
from tests.faults.chaos_bound import WINDOW_S, silence_bound
from tests.faults.chaos_plan import Kind
from tests.faults.chaos_verdict import Fault
from tests.faults.rig import PREFETCH


def test_the_window_is_the_silence_and_one_turn_of_the_loop() -> None:
    """As documented: README names both figures."""
    assert WINDOW_S == SILENCE_S + DELIVERY_BUDGET_S
    assert (SILENCE_S, DELIVERY_BUDGET_S) == (0.02, 0.005)


@pytest.mark.parametrize(
    ("shortest_s", "each"),
    [
        (1.0, 2),  # the one that was running, and one begun in the window
        (WINDOW_S * 1.01, 2),
        (WINDOW_S, 3),  # it just fits: the next is begun at the window's very end
        (WINDOW_S / 2, 4),
        (WINDOW_S / 2.5, 4),
        (WINDOW_S / 3, 5),
        (WINDOW_S / 100, 16),  # more than it holds it cannot run
        (0.0, 16),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 4])
def test_each_place_repeats_what_ran_and_what_it_could_begin_of_what_was_held(
    shortest_s: float, each: int, concurrency: int
) -> None:
    """By hand, with sixteen messages held for each place."""
    assert silence_bound(concurrency, prefetch=16, shortest_s=shortest_s) == concurrency * each


def test_who_holds_no_more_than_it_runs_repeats_no_more() -> None:
    """A prefetch multiplier of one."""
    assert silence_bound(4, prefetch=1, shortest_s=1.0) == 4


@pytest.mark.parametrize("kind", list(Kind))
def test_each_fault_has_its_bound(kind: Kind) -> None:
    """None where the worker keeps its lease, what ran where it dies or wakes, what it held where it goes on unheard."""
    nothing = dict.fromkeys((Kind.WARM, Kind.CUT, Kind.REDIS), 0)
    expected = {**nothing, Kind.KILL_CHILD: 1, Kind.SWALLOW: 3 * PREFETCH}.get(kind, 3)
    assert Fault(kind, 1.0, 1.0, "w", 7, 3).bound == expected
