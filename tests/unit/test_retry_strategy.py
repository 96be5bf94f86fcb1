"""Retries: of what may help, with pauses that spread, and never so many that they are the outage."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardening.boundaries import BoundaryError, RetryBudget, RetryStrategy, network_boundary
from hardening.boundaries.budget import process_budget
from hardening.boundaries.retry_after import retry_after_of, seconds_of
from hardening.core import telemetry
from tests.forked import forked


class _Service:
    """Fails so many times, then answers; time passes only by sleeping."""

    def __init__(self, fails: int, *, retryable: bool = True, retry_after_s: float | None = None) -> None:
        self.left = fails
        self.error = BoundaryError("network", TimeoutError(), retryable=retryable, retry_after_s=retry_after_s)
        self.calls = 0
        self.pauses: list[float] = []

    def call(self) -> str:
        self.calls += 1
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return "answer"

    def strategy(self, **options: Any) -> RetryStrategy:
        return RetryStrategy(**{"sleep": self.pauses.append, "budget": RetryBudget(reserve=1000), **options})


def test_it_tries_again_until_there_is_an_answer() -> None:
    """And tells each time."""
    service = _Service(2)
    with telemetry.capture("hardening.boundary") as events:
        assert service.strategy().call(service.call) == "answer"
    told: list[Any] = events
    assert service.calls == 3
    assert [(event.name, event.category, event.attempt, event.pause_s) for event in told] == [
        ("hardening.boundary.retried", "network", number, pause) for number, pause in enumerate(service.pauses, 1)
    ]


def test_it_gives_up_after_its_attempts() -> None:
    """With what the last one raised."""
    for attempts in (1, 4):
        service = _Service(99)
        with pytest.raises(BoundaryError) as caught:
            service.strategy(attempts=attempts).call(service.call)
        assert caught.value is service.error
        assert (service.calls, len(service.pauses)) == (attempts, attempts - 1)


@pytest.mark.parametrize("error", [ValueError("bug"), TimeoutError(), _Service(1, retryable=False).error])
def test_only_what_may_be_over_in_a_moment_is_tried_again(error: Exception) -> None:
    """Not what is the request's fault, nor what came through no boundary."""
    calls = []

    def fails() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        RetryStrategy().call(fails)
    assert len(calls) == 1


def test_nothing_begins_after_its_time() -> None:
    """A pause that would go beyond is not made."""
    service = _Service(99, retry_after_s=5.0)
    with pytest.raises(BoundaryError):
        service.strategy(total_s=4.0).call(service.call)
    assert (service.calls, service.pauses) == (1, [])


def test_what_the_other_side_asks_for_is_waited_for_up_to_a_bound() -> None:
    """It knows best, but not how long we can wait."""
    service = _Service(1, retry_after_s=5.0)
    service.strategy(base_s=0.1).call(service.call)
    assert service.pauses == [5.0]
    service = _Service(1, retry_after_s=1e9)
    service.strategy(retry_after_cap_s=20.0).call(service.call)
    assert service.pauses == [20.0]


def test_pauses_have_full_jitter() -> None:
    """Uniform from nothing to a bound that doubles up to the cap."""
    strategy = RetryStrategy(base_s=1.0, cap_s=5.0)
    error = _Service(1).error
    for retry, most_s in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (5000, 5.0)):
        pauses = [strategy.pause_s(retry, error) for _ in range(4000)]
        assert 0 <= min(pauses) < most_s * 0.02
        assert most_s * 0.98 < max(pauses) <= most_s
        assert abs(sum(pauses) / len(pauses) - most_s / 2) < most_s * 0.05
        assert abs(sum(pause < most_s / 4 for pause in pauses) / len(pauses) - 0.25) < 0.05


def test_as_a_decorator_and_for_coroutines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coroutines wait by the loop."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    service, other = _Service(1), _Service(2)

    @service.strategy()
    def call(word: str, *, times: int) -> str:
        service.call()
        return word * times

    @other.strategy()
    async def acall(word: str) -> str:
        other.call()
        return word

    assert (call("ab", times=2), call.__name__, service.calls) == ("abab", "call", 2)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert (asyncio.run(acall("x")), other.calls, len(slept)) == ("x", 3, 2)
    assert other.pauses == []


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"base_s": -1}, {"cap_s": float("nan")}, {"total_s": float("inf")}, {"retry_after_cap_s": -1}],
)
def test_a_strategy_must_make_sense(wrong: dict[str, Any]) -> None:
    """The one that does not is named."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryStrategy(**wrong)


# -- the budget


def test_in_an_outage_one_call_in_ten_is_tried_again() -> None:
    """Not each of them three times; and the refusals are told."""
    budget = RetryBudget(clock=lambda: 0.0)
    service = _Service(10**9)
    strategy = service.strategy(budget=budget)
    with telemetry.capture("hardening.retry") as events:
        for _ in range(1000):
            with pytest.raises(BoundaryError):
                strategy.call(service.call)
    assert service.calls == 1000 + 10 + 99
    assert {event.name for event in events} == {"hardening.retry.refused"}
    assert len(events) > 900


def test_a_quiet_process_may_try_again_too() -> None:
    """Some, and after a while again."""
    now_s = [0.0]
    budget = RetryBudget(reserve=2, per_s=0.5, clock=lambda: now_s[0])
    assert [budget.withdraw() for _ in range(3)] == [True, True, False]
    now_s[0] = 1.9
    assert not budget.withdraw()
    now_s[0] = 3.8
    assert budget.withdraw()
    now_s[0] = 1000.0
    assert [budget.withdraw() for _ in range(3)] == [True, True, False]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.floats(0, 1),
    st.integers(0, 20),
    st.floats(0, 2),
    st.lists(st.tuples(st.sampled_from(["call", "retry", "wait"]), st.floats(0, 100)), max_size=300),
)
def test_whatever_happens_retries_are_bounded(
    share: float, reserve: int, per_s: float, steps: list[tuple[str, float]]
) -> None:
    """By what there was, the calls, and the time."""
    now_s, calls, retries = 0.0, 0, 0
    budget = RetryBudget(share, reserve=reserve, per_s=per_s, clock=lambda: now_s)
    for step, seconds in steps:
        if step == "call":
            budget.deposit()
            calls += 1
        elif step == "retry":
            retries += budget.withdraw()
        else:
            now_s += seconds
        assert retries <= reserve + share * calls + per_s * now_s + 1e-6


def test_good_times_are_not_put_by_for_an_outage() -> None:
    """A thousand calls that went well allow no more than the reserve at once."""
    budget = RetryBudget(reserve=3, per_s=0)
    for _ in range(1000):
        budget.deposit()
    assert sum(budget.withdraw() for _ in range(100)) == 3


def test_threads_share_a_budget() -> None:
    """To the token."""
    budget = RetryBudget(reserve=500, per_s=0)
    won: list[int] = []
    threads = [
        threading.Thread(target=lambda: won.append(sum(budget.withdraw() for _ in range(400)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(won) == 500


def test_a_forked_child_is_not_held_up_by_what_a_thread_of_its_parent_held() -> None:
    """The lock is its own."""
    with process_budget()._lock:
        assert forked(lambda: process_budget().deposit(), 20) == 0


@pytest.mark.parametrize("wrong", [{"share": -1}, {"reserve": float("nan")}, {"per_s": float("inf")}])
def test_a_budget_must_make_sense(wrong: dict[str, Any]) -> None:
    """The one that does not is named."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryBudget(**wrong)


def test_strategies_share_the_budget_of_the_process() -> None:
    """Unless they are given one."""
    assert RetryStrategy().budget is RetryStrategy().budget is process_budget()


# -- Retry-After


def test_it_is_a_number_of_seconds_or_a_date() -> None:
    """As RFC 9110 has it."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    now_s = now.timestamp()
    assert seconds_of(" 120 ", now_s) == 120.0
    assert seconds_of("0", now_s) == 0.0
    assert seconds_of(format_datetime(now + timedelta(seconds=90), usegmt=True), now_s) == 90.0
    assert seconds_of("Thursday, 01-Jan-26 00:01:30 GMT", now_s) == 90.0
    assert seconds_of(format_datetime(now - timedelta(days=9), usegmt=True), now_s) == 0.0
    soon = seconds_of(format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True))
    assert soon is not None
    assert 3500 < soon <= 3600


@pytest.mark.parametrize("value", ["", "-1", "1.5", "soon", "1e9", "9" * 10, "x" * 10_000, "Thu, 99 Jan 2026", "٣"])
def test_what_cannot_be_understood_was_not_said(value: str) -> None:
    """Servers write what they like."""
    assert seconds_of(value) is None


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_nothing_that_a_server_says_raises(value: str) -> None:
    """It is seconds, or nothing."""
    found = seconds_of(value)
    assert found is None or found >= 0


def test_it_is_read_from_the_response() -> None:
    """Of any library: its headers are a mapping."""
    response = httpx.Response(503, headers={"retry-after": "7"}, request=httpx.Request("GET", "http://there"))
    with pytest.raises(BoundaryError) as caught, network_boundary:
        response.raise_for_status()
    assert caught.value.retry_after_s == 7.0
    assert retry_after_of(None) is None
    assert retry_after_of({}) is None
    assert retry_after_of({"Retry-After": 7}) is None
