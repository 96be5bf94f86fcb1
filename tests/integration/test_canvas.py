"""Chains, groups and chords with receipts: how they are sent, followed, and what happens when Redis goes away."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chain, chord, group
from celery.signals import before_task_publish

from hardening import asupervised_send, harden, supervised_send
from hardening.core.deployment import client_of
from hardening.core.errors import (
    ConfirmTimeout,
    MessageDied,
    NotReplicated,
    ResultTimeout,
)
from hardening.delivery import GroupReceipt, Receipt
from tests.eventually import eventually
from tests.integration.acting import WORKER, act, meanwhile
from tests.integration.painting import painted, sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardening.core.embedded import EmbeddedRedis
    from tests.integration.stage import Stage

pytestmark = [
    pytest.mark.one_server,
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),  # Celery's result backend
]


@pytest.fixture
def app(server: EmbeddedRedis, prefix: str, queue: str, stage: Stage) -> Iterator[Celery]:
    """With two tasks and a result backend; a worker is there."""
    stage.join(WORKER)
    yield from painted(server, prefix, queue)


@pytest.fixture
def add(app: Celery) -> Any:
    """Adds two numbers."""
    return app.tasks["add"]


@pytest.fixture
def total(app: Celery) -> Any:
    """Adds many."""
    return app.tasks["total"]


def test_a_group_is_followed_member_by_member(stage: Stage, queue: str, add: Any) -> None:
    """Each message has a receipt of its own, named as its task."""
    receipt = sent(group(add.s(1, n) for n in range(3)), confirm="queued")
    ids = [one.id for one in receipt]
    assert (len(receipt), list(receipt.members)) == (3, list(receipt))
    assert receipt.counts() == {"queued": 3}
    assert [one.details()["task_id"] for one in receipt] == ids
    stage.take(WORKER, 2, queue)
    stage.begin(WORKER, ids[0])
    assert (receipt.counts(), receipt.status()) == ({"queued": 1, "claimed": 1, "started": 1}, "queued")
    assert receipt.details() == {"members": "3", "queued": "1", "claimed": "1", "started": "1"}
    assert receipt.history()[0].state == "queued"
    assert [one.state.value for one in receipt.history()].count("queued") == 3
    assert receipt.wait("queued", 5) == "queued"
    with pytest.raises(ConfirmTimeout) as raised:
        receipt.wait("claimed", 0.2)
    assert raised.value.receipt_id == ids[2]
    stage.bury(WORKER, ids[1])
    assert receipt.status() == "dead"
    with pytest.raises(MessageDied, match="failed"):
        receipt.wait("claimed", 60)
    assert stage.ledger().counters["published"] == 3


def test_a_group_has_arrived_when_all_of_it_has(
    server: EmbeddedRedis, prefix: str, queue: str, stage: Stage, add: Any
) -> None:
    """In one time; the confirmation of a send is that of all its messages."""
    receipt = sent(group(add.s(1, n) for n in range(3)))

    def run(theirs: Stage) -> None:
        for one in receipt:
            act(theirs, queue, one.id, "take", "begin", "ack")

    with meanwhile(server, prefix, run):
        assert receipt.wait("acked", 20) == "acked"
    with meanwhile(server, prefix, lambda theirs: theirs.take(WORKER, 10, queue)):
        claimed = sent(group(add.s(2, n) for n in range(3)), confirm="claimed", timeout=20, on_error="raise")
    assert claimed.counts() == {"claimed": 3}
    assert stage.ledger().counters["acked"] == 3


def test_a_group_that_is_not_confirmed_in_time_says_so(add: Any) -> None:
    """All of it has one time limit."""
    with pytest.raises(ConfirmTimeout):
        sent(group(add.s(1, n) for n in range(3)), confirm="started", timeout=0.3, on_error="raise")


def test_a_group_on_too_few_replicas_says_so(add: Any) -> None:
    """As a single message does; each member knows."""
    canvas = group(add.s(1, n) for n in range(2))
    with pytest.raises(NotReplicated):
        supervised_send(canvas, confirm="replicated", timeout=0.3, on_error="raise")
    receipt = sent(canvas, confirm="replicated", timeout=0.3)
    assert [one.replicas for one in receipt] == [0, 0]
    assert supervised_send(add.s(1, 2) | add.s(3), confirm="replicated", timeout=0.3).replicas == 0


def test_a_chain_is_one_message_that_knows_its_last(app: Celery, stage: Stage, queue: str, add: Any) -> None:
    """Its receipt follows the first; its result is the last one's, by whoever loads the receipt."""
    receipt = supervised_send(add.s(1, 2) | add.s(3) | add.s(4))
    assert type(receipt) is Receipt
    details = receipt.details()
    assert (details["task"], details["task_id"]) == ("add", receipt.id)
    act(stage, queue, receipt.id, "take", "begin", "ack")
    assert receipt.wait("acked", 5) == "acked"
    with pytest.raises(ResultTimeout):
        receipt.result(0.2)
    app.backend.store_result(details["last"], 10, "SUCCESS")
    assert Receipt.load(receipt.id, app=app).result(5) == 10
    assert stage.ledger().counters == {"published": 1, "acked": 1}


def test_a_chain_is_sent_once_under_its_key(add: Any, total: Any, stage: Stage) -> None:
    """Also one that ends in a chord. What is several messages refuses a key."""
    first = supervised_send(add.s(1, 2) | add.s(3), idempotency_key="once")
    assert supervised_send(add.s(1, 2) | add.s(3), idempotency_key="once") == first
    many = group(add.s(1), add.s(2))
    supervised_send(chain(add.s(1, 2), many, total.s()), idempotency_key="twice")
    others = (group(add.s(1, 2)), chord([add.s(1, 2)], total.s()), chain(many, total.s()), add.chunks([(1, 2)], 1))
    for canvas in others:
        with pytest.raises(ValueError, match="which is several messages: an idempotency_key names one"):
            supervised_send(canvas, (1,), idempotency_key="k")
        with pytest.raises(ValueError, match="idempotency_key"):
            supervised_send(canvas, (1,), idempotency_window=5)
    assert stage.ledger().counters == {"published": 2}


def test_a_group_returns_a_list(app: Celery, stage: Stage, queue: str, add: Any, total: Any) -> None:
    """In the order of the group, whatever its members are."""
    receipt = sent(group(add.s(1, 1), add.s(2, 2) | add.s(3), chord([add.s(4, 4), add.s(5, 5)], total.s())))
    plain, begun, *_ = receipt.members
    assert len(receipt) == 4
    for one in receipt:
        act(stage, queue, one.id, "take", "begin", "ack")
    app.backend.store_result(plain.id, 2, "SUCCESS")
    app.backend.store_result(begun.details()["last"], 7, "SUCCESS")
    (_, _, of_chord) = receipt.results
    with pytest.raises(ResultTimeout):
        receipt.result(0.2)
    app.backend.store_result(of_chord.task_id, 18, "SUCCESS")
    assert receipt.result(5) == [2, 7, 18]


def test_a_member_that_died_ends_the_wait_for_the_result(stage: Stage, queue: str, add: Any) -> None:
    """At once."""
    receipt = sent(group(add.s(1, 1), add.s(2, 2)))
    stage.run(stage.scope.purge(queue, 10))
    with pytest.raises(MessageDied, match="purged"):
        receipt.result(60)


def test_a_chord_is_its_header_and_knows_its_body(app: Celery, stage: Stage, queue: str, add: Any, total: Any) -> None:
    """The body is sent by a worker; its result is the chord's."""
    receipt = sent(chord([add.s(1, 2), add.s(3, 4)], total.s()), metadata={"order": 17})
    assert (len(receipt), receipt.details()["body"]) == (2, receipt.body)
    for one in receipt:
        act(stage, queue, one.id, "take", "begin", "ack")
    app.backend.store_result(receipt.body, 10, "SUCCESS")
    assert receipt.result(5) == 10


def test_a_chord_whose_header_died_has_no_result(stage: Stage, queue: str, add: Any, total: Any) -> None:
    """It is not waited for."""
    receipt = sent(chord([add.s(1, 2), add.s(3, 4)], total.s()))
    stage.run(stage.scope.purge(queue, 1))
    with pytest.raises(MessageDied, match="purged"):
        receipt.result(60)


def test_a_chord_needs_a_result_backend(server: EmbeddedRedis, prefix: str, add: Any, total: Any) -> None:
    """Which is said before anything is sent."""
    bare = Celery("bare", broker=server.broker_url, set_as_current=False)
    bare.conf.hardening_prefix = prefix
    with pytest.raises(ValueError, match="needs a result backend: set result_backend"):
        supervised_send(chord([add.s(1, 2)], total.s()), app=harden(bare))
    bare.close()


def test_a_group_is_cancelled_member_by_member(stage: Stage, queue: str, add: Any) -> None:
    """It is cancelled if all of it is."""
    receipt = sent(group(add.s(1, n) for n in range(3)))
    assert receipt.cancel()
    assert receipt.cancel().is_repeat
    assert receipt.counts() == {"dead": 3}
    partly = sent(group(add.s(1, n) for n in range(3)))
    stage.take(WORKER, 1, queue)
    stage.begin(WORKER, partly.members[0].id)
    answer = partly.cancel()
    assert (answer.outcome, answer.state, bool(answer)) == ("too_late", "started", False)
    assert partly.counts() == {"started": 1, "dead": 2}
    assert not sent(group()).cancel()


def test_events_of_publications_go_to_the_real_producers(app: Celery, stage: Stage, add: Any) -> None:
    """``task_send_sent_event`` tells monitors of each message; that is no message of the ledger."""
    app.conf.task_send_sent_event = True
    told: list[Any] = []

    def listen() -> None:
        def hear(event: Any) -> None:
            told.append(event)
            receiver.should_stop = len(told) == 2

        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"task-sent": hear})
            receiver.capture(limit=None, timeout=10, wakeup=False)

    listeners = stage.client.pubsub_numpat()
    thread = threading.Thread(target=listen)
    thread.start()
    eventually(lambda: stage.client.pubsub_numpat() > listeners)
    receipt = sent(group(add.s(1, n) for n in range(2)))
    thread.join(10)
    assert [event["uuid"] for event in told] == [one.id for one in receipt]
    assert stage.ledger().counters == {"published": 2}


def test_what_others_send_meanwhile_is_theirs(app: Celery, add: Any, stage: Stage, server: EmbeddedRedis) -> None:
    """Another app's messages, from a signal; and later ones of this app."""
    other = Celery("other", broker=server.broker_url, set_as_current=False)
    other.conf.update(hardening_prefix=stage.prefix, task_default_queue=f"{stage.prefix}.other")
    harden(other)

    def also_send(sender: str, **_: Any) -> None:
        if sender == "add":
            other.send_task("else")

    before_task_publish.connect(also_send)
    try:
        assert len(sent(group(add.s(1, n) for n in range(2)))) == 2
    finally:
        before_task_publish.disconnect(also_send)
    assert stage.client.llen(f"{stage.prefix}.other") == 2
    add.delay(1, 2)
    assert stage.client.llen(app.conf.task_default_queue) == 3
    other.close()


def test_nothing_that_celery_made_goes_on_listening(app: Celery, add: Any, total: Any) -> None:
    """Results that nobody asks would be kept, or would ask for a Redis that is away by then."""
    header = [add.s(1, 2), add.s(3, 4)]
    for canvas in (add.s(1, 2) | add.s(3), group(header), chord(header, total.s()), group(chord(header, total.s()))):
        supervised_send(canvas)
    backend: Any = app.backend
    assert [len(waiting) for waiting in backend._pending_results] == [0, 0]
    assert backend.result_consumer.subscribed_to == set()


def test_a_coroutine_sends_a_group(add: Any) -> None:
    """As any other does."""
    receipt = asyncio.run(asupervised_send(group(add.s(1, n) for n in range(2))))
    assert isinstance(receipt, GroupReceipt)
    assert receipt.counts() == {"queued": 2}


def test_chunks_are_a_group(add: Any, stage: Stage) -> None:
    """As Celery has it."""
    assert len(sent(add.chunks([(1, 2), (3, 4), (5, 6)], 2))) == 2
    assert client_of(add.app).ping()
    assert stage.ledger().counters == {"published": 2}


def test_here_a_canvas_runs_at_once(app: Celery, add: Any, total: Any, stage: Stage) -> None:
    """With ``task_always_eager``: its receipt has ended, its result is there, and nothing is published."""
    app.conf.task_always_eager = True
    of_chain = supervised_send(add.s(1, 2) | add.s(3))
    assert (of_chain.status(), of_chain.result(0)) == ("acked", 6)
    of_group = sent(group(add.s(1, 2), add.s(3, 4) | add.s(5), group(add.s(0, 0))))
    assert (of_group.status(), of_group.result(0), len(of_group)) == ("acked", [3, 12, 0], 3)
    assert of_group.wait("acked", 0) == "acked"
    of_chord = sent(chord([add.s(1, 2), add.s(3, 4)], total.s()), confirm="acked")
    assert (of_chord.counts(), of_chord.result(0)) == ({"acked": 1}, 10)
    failed = sent(group(add.s(1, "x"), add.s(1, 2)))
    assert failed.counts() == {"dead": 1, "acked": 1}
    with pytest.raises(TypeError):
        failed.result()
    assert stage.ledger().counters == {}
