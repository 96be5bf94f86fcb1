"""Trouble of the webhooks example: which events are bad, and how the endpoint takes the others."""

from __future__ import annotations

import pytest

from examples.webhooks.trouble import Mood, Trouble

IDS = [f"evt_{number}" for number in range(2000)]


def test_two_thousand_events_have_their_share_of_trouble() -> None:
    """Poison for processes, for a whole worker, and events that always fail."""
    trouble = Trouble.choose(IDS, seed=1)
    counts = [len(trouble.of(mood)) for mood in (Mood.REFUSE, Mood.POISON, Mood.POISON_WORKER)]
    assert counts == [6, 3, 1]
    assert trouble.bad.keys() <= set(IDS[:1334])


@pytest.mark.parametrize(("count", "bad"), [(1, 0), (2, 0), (5, 1), (20, 3), (200, 3)])
def test_few_events_have_little_trouble(count: int, bad: int) -> None:
    """A file of five events is not all poison."""
    assert len(Trouble.choose(IDS[:count], seed=1).bad) == bad


def test_the_same_seed_gives_the_same_trouble() -> None:
    """So a run can be repeated."""
    assert Trouble.choose(IDS, seed=1) == Trouble.choose(IDS, seed=1) != Trouble.choose(IDS, seed=2)


def test_bad_events_stay_bad() -> None:
    """Only a fix of the endpoint helps them."""
    trouble = Trouble.choose(IDS, seed=1)
    assert all(trouble.mood(event_id, 99) is mood for event_id, mood in trouble.bad.items())


def test_flaky_answers_are_over_after_two_attempts() -> None:
    """About one event in twelve meets an error, a reset or a hang, and none meets more than two."""
    trouble = Trouble(1, {})
    first = [trouble.mood(event_id, 1) for event_id in IDS]
    second = [trouble.mood(event_id, 2) for event_id in IDS]
    assert set(first) == {Mood.FINE, Mood.ERROR, Mood.RESET, Mood.HANG}
    assert 0.06 < sum(mood is not Mood.FINE for mood in first) / len(IDS) < 0.11
    assert set(second) == {Mood.FINE, Mood.ERROR}
    assert {trouble.mood(event_id, 3) for event_id in IDS} == {Mood.FINE}


def test_the_endpoint_is_slow_but_answers_in_time() -> None:
    """Most answers take tens of milliseconds; none takes as long as a client waits."""
    trouble = Trouble(1, {})
    latencies = [trouble.latency_s(event_id, 1) for event_id in IDS]
    assert 0.02 <= min(latencies) < 0.03
    assert 0.045 < sum(latencies) / len(IDS) < 0.065
    assert max(latencies) == 0.3
