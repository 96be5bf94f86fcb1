"""Tasks that kill what runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dlq import DeadLetters, Reason
from hardening.core.deployment import client_of, settings_of
from tests.eventually import eventually

if TYPE_CHECKING:
    from celery import Celery

    from dlq import Entry
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server


def _dead(producer: Celery) -> list[Entry]:
    settings = settings_of(producer)
    letters = DeadLetters(client_of(producer), settings.keys, receipt_ttl_ms=settings.receipt_ttl_ms)
    return list(letters.select())


def _send_among(rig: Rig, producer: Celery, poison: str, keys: list[str], *, after: int, seconds: float) -> None:
    """Sends work, and one message of poison after so many."""
    rig.send(producer, "work", keys[:after], seconds)
    rig.send(producer, poison, ["poison"])
    rig.send(producer, "work", keys[after:], seconds)


def test_poison_that_kills_its_child_is_buried_after_three_crashes(rig: Rig) -> None:
    """Its neighbours all run, once, and none of them is charged."""
    keys = [f"k{number}" for number in range(40)]
    producer = rig.producer()
    _send_among(rig, producer, "kill_child", keys, after=20, seconds=0.02)
    rig.ready(rig.start("prefork", 2))
    rig.await_done(keys)
    eventually(lambda: len(_dead(producer)) == 1, 40)
    (entry,) = _dead(producer)
    assert (entry.reason, entry.crashes, entry.task) == (Reason.CRASHED, 3, "tests.faults.tasks.kill_child")
    assert "SIGKILL" in entry.error
    assert rig.count("began")["poison"] == 3
    assert rig.duplicates() == 2
    assert rig.settled().counters["crashes"] == 3
    producer.close()


@pytest.mark.parametrize(("pool", "concurrency"), [("prefork", 1), ("threads", 1), ("solo", 1)])
def test_poison_that_kills_whole_workers_is_buried_after_three_crashes(rig: Rig, pool: str, concurrency: int) -> None:
    """A supervisor restarts the worker each time; what was only prefetched beside the poison is not charged."""
    keys = [f"k{number}" for number in range(12)]
    producer = rig.producer()
    _send_among(rig, producer, "kill_worker", keys, after=0, seconds=0.01)
    crashed = 0
    while crashed < 3:
        worker = rig.start(pool, concurrency)
        eventually(lambda worker=worker: worker.process.poll() is not None, 30)  # type: ignore[misc]
        crashed += 1
    rig.ready(rig.start(pool, concurrency))
    rig.await_done(keys)
    eventually(lambda: len(_dead(producer)) == 1, 20)
    (entry,) = _dead(producer)
    assert (entry.reason, entry.crashes) == (Reason.CRASHED, 3)
    assert rig.count("began") == {**dict.fromkeys(keys, 1), "poison": 3}
    assert rig.settled().counters["crashes"] == 3
    producer.close()


def test_what_ran_beside_poison_is_spaced_out_and_survives_it(rig: Rig) -> None:
    """Nobody can tell which of the running tasks killed the worker; the innocent ones do not die with it."""
    keys = [f"k{number}" for number in range(24)]
    producer = rig.producer()
    _send_among(rig, producer, "kill_worker", keys, after=3, seconds=0.4)
    deaths = 0
    worker = rig.start("prefork", 4)
    while not _dead(producer):
        if worker.process.poll() is not None:
            deaths += 1
            worker = rig.start("prefork", 4)
        assert rig.stays(lambda worker=worker: worker.process.poll() is None, 0.2) or deaths < 6  # type: ignore[misc]
    rig.await_done(keys, 40)
    assert deaths == 3
    assert [(entry.task, entry.crashes) for entry in _dead(producer)] == [("tests.faults.tasks.kill_worker", 3)]
    rig.settled()
    producer.close()
