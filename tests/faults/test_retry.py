"""Dead letters that come back by themselves, in real workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dlq import DeadLetters
from hardening.core.scripts import Death, calls
from tests.eventually import eventually
from tests.undertaker import Undertaker

if TYPE_CHECKING:
    from tests.faults.rig import Rig

#: Two retries, each after half a second at most.
RULES = '{"default": {"base_s": 0.5, "factor": 1, "attempts": 2}}'
#: One retry, as good as at once.
AT_ONCE = '{"default": {"base_s": 0.001, "attempts": 1}}'


@pytest.mark.one_server
def test_a_failure_is_retried_and_then_parked_by_the_worker_itself(rig: Rig) -> None:
    """What is acknowledged before it runs is not."""
    producer = rig.producer()
    rig.send(producer, "fail", ["again"])
    rig.send(producer, "fail_once_only", ["once"])
    rig.ready(rig.start("prefork", 2, hardening_dlq_retry=RULES))
    letters = DeadLetters.of(producer)
    eventually(lambda: sorted(entry.attempts for entry in letters.select()) == [0, 2], 30)
    assert {entry.task.rpartition(".")[2]: entry.attempts for entry in letters.select()} == {
        "fail": 2,
        "fail_once_only": 0,
    }
    assert rig.stays(lambda: len(letters) == 2, 4)
    counters = rig.settled().counters
    assert (counters["dead"], counters["replayed"]) == (4, 2)
    producer.close()


def test_a_task_may_want_no_dead_letters(rig: Rig) -> None:
    """Its failures are dropped and counted; what kills its process is kept all the same."""
    producer = rig.producer()
    rig.send(producer, "fail_unkept", ["a", "b"])
    rig.send(producer, "kill_child_unkept", ["poison"])
    rig.ready(rig.start("prefork", 1))
    letters = DeadLetters.of(producer)
    eventually(lambda: len(letters) == 1, 40)
    counters = rig.settled().counters
    assert (counters["dead"], counters["dropped"]) == (3, 2)
    assert [entry.reason for entry in letters.select()] == ["crashed"]
    producer.close()


@pytest.mark.one_server
def test_two_workers_who_race_over_what_is_due_run_each_letter_once(rig: Rig) -> None:
    """They are two processes, one of which is SIGKILLed amid its retries; the other does the rest.

    What the killed one was running comes back by recovery, and may run twice: once for each of its threads. No
    letter is replayed twice, and none is left behind.
    """
    many = 3000
    producer = rig.producer()
    undertaker = Undertaker(producer)
    keys = [f"k{number}" for number in range(many)]
    rig.send(producer, "work", keys)
    while taken := undertaker.take(500):
        undertaker.bury(taken, Death("failed", "ValueError: no"))
    calls.leave(undertaker.keys, undertaker.consumer).run(undertaker.client)
    letters = DeadLetters.of(producer)
    assert len(letters) == many
    workers = [rig.ready(rig.start("threads", 2, hardening_dlq_retry=AT_ONCE)) for _ in range(2)]
    pids = {worker.process.pid: worker for worker in workers}

    def replayed() -> int:
        count: Any = undertaker.client.hget(undertaker.keys.counters, "replayed")
        return int(count or 0)

    eventually(replayed, 60)
    turn: Any = undertaker.client.get(undertaker.keys.dlq_turn)
    victim = pids[int(turn.rpartition(b":")[2])]
    rig.kill(victim)
    assert 0 < replayed() < many, "the kill was not amid the retries"
    rig.await_done(keys, 120)
    assert len(letters) == 0
    ledger = rig.settled(30)
    assert (ledger.counters["dead"], ledger.counters["replayed"], ledger.letters) == (many, many, 0)
    assert ledger.counters["acked"] == many
    began = rig.count("began")
    assert sorted(began) == sorted(keys)
    assert rig.duplicates() <= victim.concurrency
    producer.close()
