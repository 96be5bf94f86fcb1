"""What the benchmarks say of a handful of rounds."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sample import Ratio, Sample
from benchmarks.side import orders

TIMES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=9)


def test_a_sample_knows_its_middle_and_its_ends() -> None:
    """In whatever order the rounds came."""
    sample = Sample.of([3, 1, 10])
    assert (sample.median, sample.low, sample.high) == (3, 1, 10)
    assert sample.to_json() == {"median": 3.0, "low": 1.0, "high": 10.0, "values": [3.0, 1.0, 10.0]}


def test_an_even_number_of_rounds_has_a_mean_middle() -> None:
    """Of the middle two."""
    assert Sample.of([1, 2, 4, 100]).median == 3


def test_nothing_is_no_sample() -> None:
    """Rather than a median of nothing."""
    with pytest.raises(ValueError, match="at least one"):
        Sample.of([])


def test_a_ratio_is_of_medians_and_its_spread_of_pairs() -> None:
    """The pairs are those of one round each, not best against worst."""
    ratio = Ratio.of(Sample.of([10, 20, 60]), Sample.of([5, 20, 30]))
    assert ratio == Ratio(value=1.0, low=1.0, high=2.0)


def test_what_both_sides_suffer_leaves_no_trace_in_the_pairs() -> None:
    """A machine twice as slow in one round is so for both."""
    ratio = Ratio.of(Sample.of([1, 2, 4]), Sample.of([2, 4, 8]))
    assert ratio == Ratio(0.5, 0.5, 0.5)


@given(TIMES)
def test_a_side_over_itself_is_one(times: list[float]) -> None:
    """And every pair is."""
    sample = Sample.of(times)
    assert Ratio.of(sample, sample) == Ratio(1.0, 1.0, 1.0)


@given(TIMES)
def test_a_median_lies_between_the_ends(times: list[float]) -> None:
    """And is the one everybody knows."""
    sample = Sample.of(times)
    assert sample.low <= sample.median <= sample.high
    assert sample.median == statistics.median(times)


@pytest.mark.parametrize("under", [[0, 0, 1], [0, 1, 1], [0, 0, 0]])
def test_nothing_is_divided_by_zero(under: list[float]) -> None:
    """There is then no ratio."""
    assert Ratio.of(Sample.of([1, 1, 1]), Sample.of(under)) is None


def test_samples_that_make_no_pairs_have_no_ratio() -> None:
    """That would be a fault of the measure."""
    with pytest.raises(ValueError, match="do not make pairs"):
        Ratio.of(Sample.of([1]), Sample.of([1, 2]))


def test_who_begins_changes_from_round_to_round() -> None:
    """So that a drift of the machine favours nobody."""
    assert list(orders(3, "ab")) == [("a", "b"), ("b", "a"), ("a", "b")]
    assert list(orders(0, "ab")) == []
