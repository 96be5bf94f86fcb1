"""The stand-in of a breaker: the same rule, for one process alone."""

from __future__ import annotations

import pytest

from hardening.breaker.errors import CircuitOpen
from hardening.breaker.standin import Standin
from hardening.core.scripts.breaking import NEVER, Rates, Seen

RATES = Rates(0.5, NEVER, 4, 10_000, 5000, 2)
CLOSED = Seen("closed", -1, 0, "", "", is_changed=False)


def make(seen: Seen = CLOSED, rates: Rates = RATES) -> Standin:
    """A stand-in that begins at 100 s."""
    return Standin("b", rates, seen, 100.0, "us")


def run(standin: Standin, now_s: float, *, failures: int = 0, slow: int = 0) -> None:
    """One call."""
    standin.leave(standin.enter(now_s, f"t{now_s}"), now_s, calls=1, failures=failures, slow=slow)


def test_the_whole_round() -> None:
    """It opens by its rule, lets as many probe as it has places, and opens again, or closes."""
    standin = make()
    for _ in range(4):
        run(standin, 100.0, failures=1)
    assert (standin.seen.state, standin.seen.generation, standin.seen.why) == ("open", -2, "4 of 4 failed")
    with pytest.raises(CircuitOpen) as refused:
        standin.enter(101.0, "t")
    assert refused.value.retry_in_s == 4.0
    first, second = standin.enter(105.0, "p"), standin.enter(105.0, "q")
    with pytest.raises(CircuitOpen):
        standin.enter(106.0, "r")
    standin.leave(first, 106.0, calls=1, failures=0, slow=0)
    with pytest.raises(CircuitOpen):
        standin.enter(106.0, "r")
    standin.leave(second, 106.0, calls=1, failures=1, slow=0)
    assert (standin.seen.state, standin.seen.generation) == ("open", -4)
    for place in "pq":
        standin.leave(standin.enter(111.5, place), 111.5, calls=1, failures=0, slow=0)
    assert (standin.seen.state, standin.seen.generation) == ("closed", -6)


def test_a_late_result_changes_nothing() -> None:
    """Of a call that began before it opened, and ended half open."""
    standin = make()
    late = standin.enter(100.0, "t")
    for _ in range(4):
        run(standin, 100.0, failures=1)
    standin.enter(105.0, "p")
    for _ in range(2):
        standin.leave(late, 105.0, calls=1, failures=0, slow=0)
    assert standin.seen.state == "half_open"
    standin.leave(late, 105.0, calls=1, failures=1, slow=0)
    assert standin.seen.state == "half_open"


def test_a_probe_that_says_nothing_or_is_not_heard_of_gives_its_place_up() -> None:
    """At once, or after the pause."""
    standin = make(Seen("open", -1, 0, "", "", is_changed=False), RATES._replace(probes=1))
    standin.leave(standin.enter(100.0, "p"), 100.0, calls=0, failures=0, slow=0)
    standin.enter(101.0, "q")
    with pytest.raises(CircuitOpen):
        standin.enter(105.9, "r")
    assert standin.enter(106.1, "r").probe == "r"


def test_what_is_old_does_not_count_and_slow_calls_may() -> None:
    """By the same window, and the same rates."""
    standin = make()
    for _ in range(3):
        run(standin, 100.0, failures=1)
    for _ in range(4):
        run(standin, 111.0, slow=1)
    assert standin.seen.state == "closed"
    standin = make(rates=RATES._replace(slow_rate=1.0))
    for _ in range(4):
        run(standin, 100.0, slow=1)
    assert standin.seen.why == "4 of 4 were slow"
    run_at = standin.enter(105.0, "p")
    standin.leave(run_at, 105.0, calls=1, failures=0, slow=1)
    assert standin.seen.why == "a probe was slow"
