"""Three beats under kills, freezes and restarts of Redis: every slot is sent, each exactly once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from beat_schedules import Schedules
from tests.eventually import eventually
from tests.faults.beats import LEASE_S, Beats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hardening.core.embedded import EmbeddedRedis
    from tests.faults.rig import Rig

SCHEDULE = {
    "quick": {"task": "shop.quick", "schedule": 0.2},
    "steady": {"task": "shop.steady", "schedule": 1.0},
    "slow": {"task": "shop.slow", "schedule": 2.5},
}


@pytest.fixture
def beats(lasting_broker: EmbeddedRedis, prefix: str, tmp_path: Path) -> Iterator[Beats]:
    """No beats yet, on a Redis of their own that survives its restarts."""
    beats = Beats(lasting_broker.broker_url, prefix, SCHEDULE, tmp_path)
    yield beats
    beats.stop()


def progress(beats: Beats, more: int = 5) -> None:
    """Waits until more slots have been sent."""
    count = beats.count()
    eventually(lambda: beats.count() >= count + more, 30)


@pytest.mark.one_server
def test_every_slot_is_sent_once_whatever_happens_to_beats_and_redis(
    beats: Beats, lasting_broker: EmbeddedRedis
) -> None:
    """Killed, frozen past its lease and woken, politely ended, with Redis restarted and with a wrong clock."""
    beats.start(2)
    beats.start(1, skew_s=-86_400.0)
    beats.await_ticks(3)
    first = beats.await_leader()
    beats.await_first()
    first.process.kill()
    second = beats.await_leader(first, LEASE_S + 10)
    progress(beats)
    # frozen: another leads meanwhile; woken, it is not heard
    second.send(signal.SIGSTOP)
    third = beats.await_leader(second, LEASE_S + 10)
    progress(beats)
    second.send(signal.SIGCONT)
    progress(beats)
    lasting_broker.kill()
    lasting_broker.restart()
    beats.await_leader(None, 20)
    progress(beats)
    assert all(beat.process.poll() is None for beat in (second, third))
    # with clocks that are a day off, both ways
    beats.start(1, skew_s=86_400.0)
    beats.await_ticks(4)
    leader = beats.await_leader()
    assert leader.end() == 0
    beats.await_leader(leader)
    progress(beats)
    assert beats.faults(beats.await_all()) == []


@pytest.mark.one_server
def test_a_beat_that_ends_hands_over_at_once(beats: Beats) -> None:
    """It does not wait for a lease, however long that is."""
    beats.start(2, lease_s=60.0)
    beats.await_ticks(2)
    first = beats.await_leader()
    beats.await_first()
    assert first.end() == 0
    beats.await_leader(first, 10)
    progress(beats, 3)
    assert beats.faults(beats.await_all()) == []


@pytest.mark.one_server
def test_what_runs_from_the_last_slot_is_heeded(
    lasting_broker: EmbeddedRedis, rig_for: Callable[..., Rig], prefix: str, tmp_path: Path
) -> None:
    """By real workers: with ``skip`` and ``queue_one`` one runs and no other is sent; ``allow`` knows no bounds."""
    task, policies = "tests.faults.tasks.gated", ("allow", "skip", "queue_one")
    schedule = {name: {"task": task, "schedule": 0.5, "args": [name], "overlap": name} for name in policies}
    rig, beats = rig_for(lasting_broker.broker_url), Beats(lasting_broker.broker_url, prefix, schedule, tmp_path)
    try:
        rig.ready(rig.start("threads", 16))
        beats.start(1)
        eventually(lambda: rig.count("began")["allow"] >= 4 and min(rig.count("began")[name] for name in policies), 30)
        assert {name: rig.count("began")[name] for name in policies[1:]} == {"skip": 1, "queue_one": 1}
        schedules = Schedules(beats.app)
        assert schedules.get("queue_one").state == "waiting"
        assert {past.what for past in schedules.history("skip")[:-1]} == {"overlapped"}
        rig.ledger.set(f"{prefix}:gate", "open")
        eventually(lambda: min(rig.count("done")[name] for name in policies) >= 3, 30)
    finally:
        beats.stop()
