"""Whole workers are killed under load."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.eventually import eventually
from tests.faults.rig import LEASE_S

if TYPE_CHECKING:
    from tests.faults.rig import Rig


@pytest.mark.parametrize(("pool", "concurrency"), [("prefork", 2), ("threads", 4), ("solo", 1)])
def test_nothing_is_lost_when_workers_are_killed_under_load(rig: Rig, pool: str, concurrency: int) -> None:
    """SIGKILL at seeded moments; every message runs, and only what ran at a kill runs twice."""
    chance = random.Random(20)
    keys = [f"k{number}" for number in range(600)]
    producer = rig.producer()
    rig.send(producer, "work", keys, 0.01)
    workers = [rig.ready(rig.start(pool, concurrency)) for _ in range(2)]
    for _ in range(4):
        target = min(rig.done() + chance.randint(20, 60), len(keys) - 50)
        rig.await_progress(target)
        rig.kill(workers.pop(chance.randrange(2)))
        workers.append(rig.ready(rig.start(pool, concurrency)))
    rig.await_done(keys)
    assert rig.duplicates() <= rig.kills * concurrency
    settled = rig.settled()
    assert settled.counters["published"] == settled.counters["acked"] == len(keys)
    producer.close()


def test_what_a_dead_worker_held_is_recovered_within_its_lease_and_two_seconds(rig: Rig) -> None:
    """Recovery goes by liveness: seconds, not the visibility timeout."""
    keys = [f"k{number}" for number in range(8)]
    producer = rig.producer()
    victim = rig.ready(rig.start("threads", 4))
    rig.send(producer, "work", keys, 3600)
    eventually(lambda: len(rig.count("began")) == 4, 10)
    heir = rig.ready(rig.start("threads", 8))
    rig.kill(victim)
    took_s = rig.seconds_until(lambda: sum(rig.count("began").values()) == 12, LEASE_S + 4)
    assert took_s <= LEASE_S + 2
    assert rig.read().inflight == 8
    rig.kill(heir)
    producer.close()
