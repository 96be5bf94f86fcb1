"""Children of the prefork pool are killed under load."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from tests.eventually import eventually
from tests.faults.proxy import Proxy

if TYPE_CHECKING:
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server


def test_nothing_is_lost_when_pool_children_are_killed(rig: Rig) -> None:
    """The worker lives on: what its child ran comes back, charged; nothing else is touched."""
    chance = random.Random(7)
    keys = [f"k{number}" for number in range(150)]
    producer = rig.producer()
    worker = rig.ready(rig.start("prefork", 2))
    rig.send(producer, "work", keys, 0.05)
    for target in (20, 50, 80):
        rig.await_progress(target)
        os.kill(chance.choice(worker.children()), signal.SIGKILL)
        rig.kills += 1
    rig.await_done(keys)
    assert rig.duplicates() <= rig.kills
    settled = rig.settled()
    assert settled.counters["acked"] == len(keys)
    assert settled.counters.get("crashes", 0) <= rig.kills
    assert "dead" not in settled.counters
    producer.close()


def test_a_cut_right_after_a_childs_death_does_not_end_the_worker(rig: Rig) -> None:
    """The dead child is noticed within a fraction of a second, whatever happens to the connection."""
    producer = rig.producer()
    with Proxy(rig.broker) as proxy:
        worker = rig.ready(rig.start("prefork", 4, broker=proxy.url))
        for turn in range(6):
            rig.send(producer, "work", [f"long{turn}"], 3)
            eventually(lambda turn=turn: rig.count("began")[f"long{turn}"] == 1)  # type: ignore[misc]
            busy = worker.children()
            os.kill(busy[turn % len(busy)], signal.SIGKILL)
            proxy.cut()
            eventually(lambda busy=busy: len(set(worker.children()) - set(busy)) == 1, 3)  # type: ignore[misc]
        rig.await_done([f"long{turn}" for turn in range(6)], 40)
        assert worker.process.poll() is None
        rig.settled()
    producer.close()
