"""Chains, groups and chords over real workers, followed and waited for by their receipts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import chord, group
from celery.exceptions import ChordError

from hardening import supervised_send
from hardening.core.errors import MessageDied, ResultTimeout
from hardening.delivery import GroupReceipt
from tests.closing import close_with_results
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server


@pytest.fixture
def producer(rig: Rig) -> Iterator[Celery]:
    """Sends, and reads results."""
    app = rig.producer()
    app.conf.update(result_backend=rig.broker, task_ignore_result=False)
    yield app
    close_with_results(app)


def of(app: Celery, name: str, *args: Any) -> Any:
    """A signature of a task that only the workers have."""
    return app.signature(f"tests.faults.tasks.{name}", args=args)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_results_of_every_kind_come_back(rig: Rig, producer: Celery, pool: str) -> None:
    """Of a task, a chain, a group, a chord, and of one that raised; all of it is in the ledger."""
    rig.start(pool, 2, faults_results="1")
    one = supervised_send("tests.faults.tasks.add", (1, 2), app=producer)
    in_turn = supervised_send(of(producer, "add", 1, 2) | of(producer, "add", 10) | of(producer, "add", 100))
    many = supervised_send(group(of(producer, "add", 1, n) for n in range(10)), app=producer)
    joined = supervised_send(
        chord([of(producer, "add", 1, n) for n in range(10)], of(producer, "total"), app=producer), app=producer
    )
    failed = supervised_send("tests.faults.tasks.fail", ("k",), app=producer)
    broken = supervised_send(
        chord([of(producer, "add", 1, 1), of(producer, "fail", "k")], of(producer, "total"), app=producer), app=producer
    )
    assert isinstance(many, GroupReceipt)
    assert (one.result(40), in_turn.result(), many.result()) == (3, 113, list(range(1, 11)))
    assert many.wait("acked", 10) == "acked"
    assert (joined.result(), many.counts()) == (55, {"acked": 10})
    with pytest.raises(ValueError, match="no luck"):
        failed.result()
    with pytest.raises(ChordError, match="no luck"):
        broken.result()
    with pytest.raises(ResultTimeout):
        supervised_send(of(producer, "work", "k", 3)).result(0.3)
    settled = rig.settled()
    assert (settled.counters["acked"], settled.counters["dead"]) == (1 + 3 + 10 + 11 + 1 + 1, 2)


def test_a_chord_fails_when_a_worker_gives_up_what_was_cancelled(rig: Rig, producer: Celery) -> None:
    """Whoever waits for the chord, and for the message, is told; nobody waits for ever."""
    worker = rig.ready(rig.start("threads", 1, faults_results="1"))
    header = [of(producer, "work", "k", 2), of(producer, "add", 1, 1)]
    joined = supervised_send(chord(header, of(producer, "total"), app=producer), app=producer, confirm="claimed")
    running, waiting = joined.members
    running.wait("started", 20)
    answer = waiting.cancel()
    assert (answer.outcome, answer.place) == ("revoked", "consumer")
    with pytest.raises(MessageDied, match="cancelled"):
        joined.result(20)
    assert isinstance(joined, GroupReceipt)
    backend: Any = producer.backend
    failed = eventually(lambda: backend.get_task_meta(joined.body)["result"])
    assert isinstance(failed, ChordError)
    assert rig.settled().counters["purged"] == 1
    worker.stop()
