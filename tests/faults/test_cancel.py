"""Messages are cancelled while real workers run them: each either ran or was cancelled, as was told."""

from __future__ import annotations

import random
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from hardening import supervised_send
from hardening.delivery import CancelOutcome
from tests.eventually import eventually
from tests.faults.rig import LEASE_S

if TYPE_CHECKING:
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server


@pytest.mark.parametrize(("pool", "concurrency"), [("prefork", 2), ("threads", 4), ("solo", 1)])
def test_what_is_cancelled_never_runs_and_what_is_not_runs_once(rig: Rig, pool: str, concurrency: int) -> None:
    """Two workers drain the queue at full speed, with much taken in advance, while each message is cancelled."""
    producer = rig.producer()
    keys = [f"k{n}" for n in range(300)]
    receipts = {key: supervised_send("tests.faults.tasks.work", (key, 0.03), app=producer) for key in keys}
    for _ in range(2):
        rig.start(pool, concurrency, faults_prefetch="16")
    random.Random(7).shuffle(keys)
    rig.await_progress(10)
    with ThreadPoolExecutor(8) as pool_of_threads:
        told = dict(zip(keys, pool_of_threads.map(lambda key: receipts[key].cancel(), keys), strict=True))
    settled = rig.settled()
    ran = rig.count("done")
    cancelled = {key for key, one in told.items() if one}
    assert set(ran) == set(keys) - cancelled
    assert set(ran.values()) == {1}
    assert rig.count("began") == ran
    assert {one.outcome for one in told.values()} == set(CancelOutcome)
    states = Counter(receipts[key].status().value for key in cancelled)
    assert states == Counter(dead=len(cancelled))
    assert (settled.counters["acked"], settled.counters["purged"]) == (len(ran), len(cancelled))
    producer.close()


def test_a_worker_gives_up_what_it_has_taken_and_not_begun(rig: Rig) -> None:
    """Behind a task that goes on for long, in about a second; the place is filled with others."""
    producer = rig.producer()
    worker = rig.start("threads", 1)
    first = supervised_send("tests.faults.tasks.gated", ("first",), app=producer)
    second = supervised_send("tests.faults.tasks.work", ("second",), app=producer)
    first.wait("started", 30)
    second.wait("claimed", 10)
    answer = second.cancel()
    assert (answer.outcome, answer.place, answer.state) == (CancelOutcome.REVOKED, "consumer", "dead")
    assert second.cancel() == type(answer)(CancelOutcome.REVOKED, answer.state, "consumer", is_repeat=True)
    begun = first.cancel()
    assert (begun.outcome, begun.state) == (CancelOutcome.TOO_LATE, "started")
    rig.ledger.set(f"{rig.prefix}:gate", 1)
    settled = rig.settled()
    assert (rig.count("done"), settled.counters["purged"]) == (Counter(first=1), 1)
    worker.stop()
    producer.close()


def test_what_a_killed_worker_had_taken_is_cancelled_all_the_same(rig: Rig) -> None:
    """It cannot give it up any more: its lease runs out, the message comes back, and does not run."""
    producer = rig.producer()
    victim = rig.ready(rig.start("threads", 1))
    running = supervised_send("tests.faults.tasks.work", ("running", 3600), app=producer, confirm="started", timeout=20)
    waiting = supervised_send("tests.faults.tasks.work", ("waiting",), app=producer, confirm="claimed", timeout=20)
    eventually(lambda: rig.count("began")["running"] == 1)
    victim.send(signal.SIGSTOP)
    rig.kill(victim)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(lambda: waiting.cancel(timeout=LEASE_S + 20))
        rig.ready(rig.start("threads", 1))
        assert answer.result(40)  # from its queue, or by the heir, if that was quicker
    eventually(lambda: rig.count("began")["running"] == 2, 20)
    assert (waiting.status(), rig.count("began")["waiting"]) == ("dead", 0)
    assert running.cancel().state == "started"
    ledger = rig.read()
    assert ledger.is_balanced, ledger
    assert ledger.counters["purged"] == 1
    producer.close()


def test_a_task_that_runs_is_killed_if_that_was_asked_for(rig: Rig) -> None:
    """Its worker is told by Celery's own revoke; the answer is still that it was too late."""
    producer = rig.producer()
    rig.ready(rig.start("prefork", 1))
    receipt = supervised_send("tests.faults.tasks.work", ("k", 3600), app=producer)
    eventually(lambda: rig.count("began")["k"] == 1, 20)
    answer = receipt.cancel(terminate=True)
    assert (answer.outcome, answer.state) == (CancelOutcome.TOO_LATE, "started")
    settled = rig.settled(20)
    assert (rig.done(), settled.counters["acked"], receipt.status()) == (0, 1, "acked")
    producer.close()
