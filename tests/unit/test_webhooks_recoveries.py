"""How the webhooks example measures recovery."""

from __future__ import annotations

from examples.webhooks.recoveries import Recoveries


def test_the_slowest_recovery_is_told() -> None:
    """From a consumer's death until it holds nothing."""
    now_s, held = [100.0], {"a": 3, "b": 5}
    recoveries = Recoveries(lambda consumer: held[consumer], lambda: now_s[0])
    recoveries.watch("a")
    now_s[0] = 101.0
    recoveries.watch("b")
    recoveries.poll()
    assert (recoveries.pending, recoveries.slowest_s) == (2, None)
    now_s[0], held["b"] = 102.5, 0
    recoveries.poll()
    assert (recoveries.pending, recoveries.slowest_s) == (1, 1.5)
    now_s[0], held["a"] = 103.0, 0
    recoveries.poll()
    assert (recoveries.pending, recoveries.slowest_s) == (0, 3.0)


def test_a_consumer_that_held_nothing_recovers_at_once() -> None:
    """And does not hide a slower one."""
    now_s = [100.0]
    recoveries = Recoveries(lambda _: 0, lambda: now_s[0])
    recoveries.watch("a")
    now_s[0] = 102.0
    recoveries.poll()
    recoveries.watch("b")
    recoveries.poll()
    assert recoveries.slowest_s == 2.0
