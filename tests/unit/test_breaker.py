"""The breaker: when it opens, whom it lets through, and that late results harm nothing."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hardening.core import telemetry
from hardening.core.errors import BreakerOpen
from hardening.core.outage import BreakerChanged
from hardening.delivery.breaker import Breaker

UNREACHABLE = [RedisConnectionError("gone"), RedisTimeoutError("slow"), BusyLoadingError("wait"), OSError("no route")]
ANSWERED = [OutOfMemoryError("full"), ReadOnlyError("replica")]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now_s


class Bench:
    """A breaker on a clock of its own, without chance."""

    def __init__(self, failures: int = 3, chance: float = 0.0) -> None:
        self.clock = Clock()
        self.breaker = Breaker(failures, clock_s=self.clock, chance=lambda: chance)

    def fail(self, times: int = 1) -> None:
        """Asks and fails."""
        for _ in range(times):
            self.breaker.failed(self.breaker.ask())

    def refused(self) -> BreakerOpen:
        """Asks, and is refused."""
        with pytest.raises(BreakerOpen) as raised:
            self.breaker.ask()
        return raised.value


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    """One success in between, and they are counted anew."""
    bench = Bench(3)
    bench.fail(2)
    bench.breaker.succeeded(bench.breaker.ask())
    bench.fail(2)
    assert bench.breaker.state == "closed"
    bench.fail()
    assert bench.breaker.state == "open"
    assert vars(bench.refused()) == {"failures": 3, "probe_in_s": 1.0}


def test_when_its_pause_is_over_one_probe_goes_through() -> None:
    """The others are refused until it is heard of."""
    bench = Bench(1)
    bench.fail()
    bench.clock.now_s += 0.999
    assert bench.refused().probe_in_s == pytest.approx(0.001)
    bench.clock.now_s += 0.001
    probe = bench.breaker.ask()
    assert bench.breaker.state == "half_open"
    assert bench.refused().probe_in_s == 0
    bench.breaker.succeeded(probe)
    assert bench.breaker.state == "closed"
    assert bench.breaker.ask() == bench.breaker.ask()


def test_each_failed_probe_doubles_the_pause_up_to_half_a_minute() -> None:
    """And a success begins with one second anew."""
    bench = Bench(1)
    bench.fail()
    pauses = []
    for _ in range(7):
        pauses.append(bench.refused().probe_in_s)
        bench.clock.now_s += pauses[-1]
        bench.fail()
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    bench.clock.now_s += 30
    bench.breaker.succeeded(bench.breaker.ask())
    bench.fail()
    assert bench.refused().probe_in_s == 1


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_a_part_of_each_pause_is_left_to_chance(chance: float) -> None:
    """So that processes which lost Redis together do not probe it together."""
    bench = Bench(1, chance)
    bench.fail()
    assert bench.refused().probe_in_s == pytest.approx(1 + 0.2 * chance)


def test_a_probe_that_is_never_heard_of_again_is_replaced() -> None:
    """And counts no more when it is."""
    bench = Bench(1)
    bench.fail()
    bench.clock.now_s += 1
    lost = bench.breaker.ask()
    bench.clock.now_s += 29.9
    bench.refused()
    bench.clock.now_s += 0.1
    probe = bench.breaker.ask()
    bench.breaker.succeeded(lost)
    assert bench.breaker.state == "half_open"
    bench.breaker.succeeded(probe)
    assert bench.breaker.state == "closed"


def test_late_results_harm_nothing() -> None:
    """An attempt that began before a change says nothing of what is now."""
    bench = Bench(2)
    late = bench.breaker.ask()
    bench.fail(2)
    bench.breaker.succeeded(late)
    assert bench.breaker.state == "open"
    bench.clock.now_s += 1
    probe = bench.breaker.ask()
    bench.breaker.failed(late)
    bench.breaker.gave_up(late)
    assert bench.breaker.state == "half_open"
    bench.breaker.succeeded(probe)
    bench.breaker.failed(late)
    bench.breaker.failed(late)
    assert bench.breaker.state == "closed"


def test_a_probe_that_gave_up_leaves_its_place_to_the_next() -> None:
    """At once: it has found out nothing. A closed breaker does not mind."""
    bench = Bench(1)
    with pytest.raises(KeyError), bench.breaker.watching(bench.breaker.ask()):
        raise KeyError
    assert bench.breaker.state == "closed"
    bench.fail()
    bench.clock.now_s += 1
    with pytest.raises(KeyboardInterrupt), bench.breaker.watching(bench.breaker.ask()):
        raise KeyboardInterrupt
    assert bench.breaker.state == "open"
    with bench.breaker.watching(bench.breaker.ask()):
        pass
    assert bench.breaker.state == "closed"


def test_a_word_from_redis_shortens_the_pause() -> None:
    """Whoever heard it, such as the flusher. A probe that is under way stays the only one."""
    bench = Bench(1)
    bench.breaker.heard()
    assert bench.breaker.state == "closed"
    bench.fail()
    bench.breaker.heard()
    probe = bench.breaker.ask()
    bench.breaker.heard()
    bench.refused()
    bench.breaker.succeeded(probe)
    assert bench.breaker.state == "closed"


@pytest.mark.parametrize("error", UNREACHABLE, ids=lambda error: type(error).__name__)
def test_what_cannot_be_reached_is_a_failure(error: Exception) -> None:
    """And goes on to whoever asked."""
    bench = Bench(1)
    with pytest.raises(type(error)), bench.breaker.watching(bench.breaker.ask()):
        raise error
    assert bench.breaker.state == "open"


@pytest.mark.parametrize("error", ANSWERED, ids=lambda error: type(error).__name__)
def test_an_answer_is_an_answer(error: Exception) -> None:
    """A Redis that refuses is there."""
    bench = Bench(2)
    bench.fail()
    with pytest.raises(type(error)), bench.breaker.watching(bench.breaker.ask()):
        raise error
    bench.fail()
    assert bench.breaker.state == "closed"


def test_each_change_is_told() -> None:
    """With its generation, and how long the pause is."""
    bench = Bench(1)
    with telemetry.capture("hardening.breaker") as events:
        bench.fail()
        bench.clock.now_s += 1
        bench.fail()
        bench.clock.now_s += 2
        bench.breaker.succeeded(bench.breaker.ask())
    assert events == [
        BreakerChanged(state="open", generation=1, pause_s=1.0),
        BreakerChanged(state="half_open", generation=2, pause_s=1.0),
        BreakerChanged(state="open", generation=3, pause_s=2.0),
        BreakerChanged(state="half_open", generation=4, pause_s=2.0),
        BreakerChanged(state="closed", generation=5, pause_s=0.0),
    ]


def test_a_subscriber_may_send() -> None:
    """Which asks the breaker, in the very call that tells of its change."""
    bench, heard = Bench(1), []

    def alarm(event: telemetry.Event) -> None:
        assert isinstance(event, BreakerChanged)
        try:
            bench.breaker.ask()
        except BreakerOpen:
            heard.append((event.state, "refused"))
        else:
            heard.append((event.state, "sent"))

    def outage() -> None:
        bench.fail()
        bench.clock.now_s += 1
        bench.breaker.succeeded(bench.breaker.ask())

    subscription = telemetry.attach("hardening.breaker", alarm)
    thread = threading.Thread(target=outage, daemon=True)
    thread.start()
    thread.join(10)
    telemetry.detach(subscription)
    assert heard == [("open", "refused"), ("half_open", "refused"), ("closed", "sent")]


def test_of_many_threads_one_gets_the_probe() -> None:
    """All ask at once."""
    bench = Bench(1)
    bench.fail()
    bench.clock.now_s += 1
    line, through = threading.Barrier(16), []

    def ask() -> None:
        line.wait(10)
        try:
            through.append(bench.breaker.ask())
        except BreakerOpen:
            return

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(through) == 1


@given(st.lists(st.sampled_from(["ask", "fail", "succeed", "give_up", "late_fail", "late_succeed", "pass"])))
def test_whatever_happens_it_is_open_only_for_a_reason_and_never_for_ever(steps: list[str]) -> None:
    """At most one probe is out; it lets somebody through within the longest pause; only failures open it."""
    bench = Bench(2)
    old = bench.breaker.ask()
    asked: int | None = None
    failures = 0
    for step in steps:
        if step == "pass":
            bench.clock.now_s += 0.7
        elif step == "ask":
            with suppress(BreakerOpen):
                asked = bench.breaker.ask()
            assert bench.breaker.state == "closed" or failures >= 2
        elif step.startswith("late"):
            known = bench.breaker.generation != old
            before = bench.breaker.state
            (bench.breaker.failed if step == "late_fail" else bench.breaker.succeeded)(old)
            failures += step == "late_fail" and not known
            assert not known or bench.breaker.state == before
        elif asked is not None:
            result = {"fail": bench.breaker.failed, "succeed": bench.breaker.succeeded}
            result.get(step, bench.breaker.gave_up)(asked)
            failures += step == "fail"
    bench.clock.now_s += 36
    bench.breaker.succeeded(bench.breaker.ask())
    assert bench.breaker.state == "closed"
