"""Workers are asked to stop while they are busy."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.eventually import eventually

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server


@pytest.mark.parametrize(("pool", "concurrency"), [("prefork", 2), ("threads", 4), ("solo", 1)])
def test_a_warm_shutdown_under_load_repeats_nothing(rig: Rig, pool: str, concurrency: int) -> None:
    """What runs is finished and acked, what does not goes back at once, and runs once elsewhere."""
    keys = [f"k{number}" for number in range(100)]
    producer = rig.producer()
    rig.send(producer, "work", keys, 0.03)
    for target in (15, 40):
        worker = rig.ready(rig.start(pool, concurrency))
        rig.await_progress(target)
        worker.stop(signal.SIGTERM)
        assert rig.read().inflight == 0
    rig.ready(rig.start(pool, concurrency))
    rig.await_done(keys)
    assert rig.duplicates() == 0
    assert rig.settled().counters["acked"] == len(keys)
    producer.close()


def test_a_warm_shutdown_gives_waiting_messages_back_before_long_tasks_end(rig: Rig) -> None:
    """Other workers do not wait for the drain of this one."""
    producer = rig.producer()
    worker = rig.ready(rig.start("prefork", 1))
    rig.send(producer, "work", ["long"], 5)
    eventually(lambda: rig.count("began")["long"] == 1, 10)
    rig.send(producer, "work", ["short"], 0)
    eventually(lambda: rig.read().inflight == 2, 10)
    worker.send(signal.SIGTERM)
    rig.ready(rig.start("prefork", 1))
    eventually(lambda: rig.count("done")["short"] == 1, 4)
    assert rig.count("done")["long"] == 0
    worker.process.wait(20)
    assert rig.duplicates() == 0
    rig.settled()
    producer.close()


@pytest.mark.parametrize("soft_s", ["0", "1"], ids=["cold", "soft"])
def test_a_cold_or_soft_shutdown_gives_running_messages_back_uncharged(rig: Rig, soft_s: str) -> None:
    """The operator killed the task, not the other way round: it runs again and is not counted as a crash."""
    producer = rig.producer()
    worker = rig.ready(rig.start("prefork", 2, faults_soft_shutdown=soft_s))
    rig.send(producer, "work", ["long"], 30)
    eventually(lambda: rig.count("began")["long"] == 1, 10)
    worker.stop(signal.SIGQUIT)
    ledger = rig.read()
    assert (ledger.inflight, ledger.queued, ledger.counters.get("crashes", 0)) == (0, 1, 0)
    assert ledger.is_balanced
    rig.ready(rig.start("prefork", 2))
    eventually(lambda: rig.count("began")["long"] == 2, 10)
    producer.close()


def test_threads_that_are_busy_stop_cold_at_any_moment(rig: Rig) -> None:
    """Also between two instructions of a submission: the worker ends, in order, and nothing is lost."""
    keys = [f"k{number}" for number in range(3_000)]
    producer = rig.producer()
    rig.send(producer, "work", keys)
    for turn in range(1, 6):
        worker = rig.ready(rig.start("threads", 4))
        rig.await_progress(turn * 120)
        worker.stop(signal.SIGQUIT, timeout_s=15)
        assert worker.process.returncode == 0
        assert b"Traceback" not in worker.log.read_bytes()
        assert rig.read().inflight == 0
    assert rig.duplicates() <= 5 * 4
    rig.ready(rig.start("threads", 4))
    rig.await_done(keys)
    assert rig.settled().counters.get("crashes", 0) == 0
    producer.close()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_task_that_ends_while_redis_restarts_during_a_warm_shutdown_runs_once(
    own_rig: tuple[Rig, EmbeddedRedis], pool: str
) -> None:
    """The worker outlives its task until the ack is written, for Redis is back before its lease is over."""
    rig, broker = own_rig
    producer = rig.producer()
    worker = rig.ready(rig.start(pool, 2, faults_lease_s="8"))
    rig.send(producer, "work", ["long"], 2.0)
    eventually(lambda: rig.count("began")["long"] == 1, 10)
    rig.send(producer, "work", ["waits"], 0)
    worker.send(signal.SIGTERM)
    broker.kill()
    rig.await_progress(1)
    assert rig.stays(lambda: worker.process.poll() is None, 1.5)
    broker.restart()
    worker.process.wait(10)
    ledger = rig.read()
    assert ledger.is_balanced
    assert (ledger.counters["acked"] + ledger.queued, ledger.inflight) == (2, 0)  # the other may have run beside it
    rig.ready(rig.start(pool, 2))
    rig.await_done(["long", "waits"])
    assert rig.duplicates() == 0
    assert rig.settled().counters["acked"] == 2
    producer.close()


def test_a_warm_shutdown_without_redis_ends_when_the_lease_is_over(own_rig: tuple[Rig, EmbeddedRedis]) -> None:
    """It does not wait for ever; the message is recovered, charged, and runs again: nobody can know of its ack."""
    rig, broker = own_rig
    lease_s = 4.0
    producer = rig.producer()
    worker = rig.ready(rig.start("prefork", 2, faults_lease_s=str(lease_s)))
    rig.send(producer, "work", ["long"], 1.0)
    eventually(lambda: rig.count("began")["long"] == 1, 10)
    worker.send(signal.SIGTERM)
    broker.kill()
    rig.await_progress(1)
    assert 2.0 < rig.seconds_until(lambda: worker.process.poll() is not None, 30) < lease_s + 4.0
    broker.restart()
    rig.ready(rig.start("prefork", 2))
    eventually(lambda: rig.count("done")["long"] == 2, 20)
    settled = rig.settled()
    assert (settled.counters["acked"], settled.counters["crashes"]) == (1, 1)
    producer.close()
