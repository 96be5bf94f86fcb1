"""Stock and hardened workers and producers share a queue, so that a fleet can come and go process by process."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.eventually import eventually

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis
    from tests.faults.rig import Rig


def test_a_stock_message_runs_on_a_hardened_worker_within_the_poll_interval(rig: Rig) -> None:
    """Stock producers ring no bell."""
    producer = rig.stock_producer()
    rig.ready(rig.start("threads", 1))
    rig.send(producer, "work", ["warm"], 0)
    rig.await_done(["warm"], 10)
    rig.send(producer, "work", ["k"], 0)
    assert rig.seconds_until(lambda: rig.count("done")["k"] == 1, 5) < 1.0
    assert rig.settled().counters == {"adopted": 2, "acked": 2}
    producer.close()


def test_a_hardened_message_runs_on_a_stock_worker(rig: Rig) -> None:
    """The wire format is kombu's."""
    producer = rig.producer()
    rig.ready(rig.start("threads", 1, stock=True))
    rig.send(producer, "work", ["k"], 0)
    rig.await_done(["k"], 10)
    producer.close()


@pytest.mark.one_server
def test_workers_of_both_kinds_are_swapped_one_by_one_under_load(rig: Rig) -> None:
    """Stock to hardened and back, warm: nothing is lost and nothing runs twice."""
    keys = [f"k{number}" for number in range(400)]
    stock, hardened = rig.stock_producer(), rig.producer()
    workers = [rig.ready(rig.start("threads", 2, stock=True)) for _ in range(2)]
    rig.send(stock, "work", keys[:200], 0.02)
    rig.send(hardened, "work", keys[200:], 0.02)
    for number, is_stock in enumerate((False, False, True, True)):
        rig.await_progress(60 * (number + 1))
        workers.append(rig.ready(rig.start("threads", 2, stock=is_stock)))
        workers.pop(0).stop(signal.SIGTERM)
    rig.await_done(keys)
    assert rig.duplicates() == 0
    ledger = rig.read()
    assert (ledger.queued, ledger.inflight, ledger.scheduled, ledger.stock) == (0, 0, 0, 0)
    for app in (stock, hardened):
        app.close()


@pytest.mark.one_server
def test_what_a_stock_worker_left_unacked_comes_back_once_it_is_gone(own_rig: tuple[Rig, EmbeddedRedis]) -> None:
    """Seconds after the last stock worker died, not an hour. Nobody else may be on its Redis."""
    rig, _ = own_rig
    keys = [f"k{number}" for number in range(8)]
    producer = rig.stock_producer()
    stock, ours = rig.start("threads", 1, stock=True), rig.start("threads", 2)
    rig.ready(stock)
    rig.ready(ours)
    ours.send(signal.SIGSTOP)  # until the other has some
    rig.send(producer, "work", keys, 0.5)
    eventually(lambda: rig.read().unacked >= 3, 10)
    ours.send(signal.SIGCONT)
    eventually(lambda: rig.read().came_in >= 1 and rig.read().stock == 0, 10)  # or it would lose what it is just taking
    assert rig.read().unacked >= 1
    rig.kill(stock)
    rig.await_done(keys, 30)
    eventually(lambda: rig.read().unacked == 0, 10)
    assert rig.duplicates() <= 1
    producer.close()
