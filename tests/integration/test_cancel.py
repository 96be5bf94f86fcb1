"""Cancelling: what happened is told, wherever the message was, and whoever else was at it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from celery.result import AsyncResult
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening import supervised_send
from hardening.core import telemetry
from hardening.core.deployment import client_of
from hardening.core.errors import CancelFailed, ConfirmTimeout, MessageDied, ReceiptNotFound
from hardening.core.scripts.cancelling import Asked, Place
from hardening.core.scripts.cancelling import cancel as cancel_call
from hardening.delivery import Cancellation, CancelOutcome, DeliveryStatus, Receipt
from hardening.delivery.cancel_events import MessageCancelled
from hardening.delivery.fallback import fallback_of
from tests.integration.acting import WORKER, act, meanwhile
from tests.integration.stage import long

if TYPE_CHECKING:
    from pathlib import Path

    from celery import Celery

    from hardening.core.embedded import EmbeddedRedis
    from tests.integration.stage import Stage

REMOVED, REVOKED, TOO_LATE = CancelOutcome
DEAD = DeliveryStatus.DEAD


@pytest.fixture
def receipt(app: Celery, stage: Stage) -> Receipt:
    """Of a message that was just sent; a worker is there and has done nothing yet."""
    stage.join(WORKER)
    return supervised_send("add", app=app)


def nothing_is_left(stage: Stage) -> dict[str, int]:
    """The ledger's counters, once every message has ended."""
    ledger = stage.ledger()
    assert (ledger.queued, ledger.scheduled, ledger.inflight) == (0, 0, 0)
    return ledger.counters


def test_what_is_queued_is_removed(stage: Stage, queue: str, receipt: Receipt) -> None:
    """And nothing else: its neighbours stay, in order; told once, and the same again."""
    before, after = (supervised_send("add", app=receipt.app) for _ in range(2))
    del before
    with telemetry.capture("hardening.message.cancelled") as told:
        assert receipt.cancel() == Cancellation(REMOVED, DEAD, "queue")
        assert receipt.cancel() == Cancellation(REMOVED, DEAD, "queue", is_repeat=True)
    assert told == [MessageCancelled(receipt=receipt.id, task="add", queue=queue, place="queue", is_result_told=False)]
    assert stage.client.llen(queue) == 2
    assert after.status() == "queued"
    assert stage.ledger().counters == {"published": 3, "purged": 1}
    assert (receipt.status(), receipt.details()["reason"]) == ("dead", "cancelled")
    assert "cancelled" not in receipt.details()
    with pytest.raises(MessageDied, match="cancelled"):
        receipt.wait("started")


def test_what_is_scheduled_is_removed(app: Celery, stage: Stage) -> None:
    """From both halves of the schedule."""
    receipt = supervised_send("add", app=app, delay=600)
    assert receipt.cancel() == Cancellation(REMOVED, DEAD, "schedule")
    assert nothing_is_left(stage) == {"published": 1, "purged": 1}
    assert not stage.client.exists(stage.keys.scheduled, stage.keys.scheduled_messages)


@pytest.mark.parametrize("priority", [3, 6, 9])
def test_what_has_a_priority_is_found(app: Celery, stage: Stage, priority: int) -> None:
    """Each step is a list of its own."""
    receipt = supervised_send("add", app=app, priority=priority)
    assert receipt.cancel() == Cancellation(REMOVED, DEAD, "queue")
    assert nothing_is_left(stage) == {"published": 1, "purged": 1}


@pytest.mark.parametrize(("acts", "state"), [("take begin", "started"), ("take begin ack", "acked")])
def test_what_was_begun_is_too_late(stage: Stage, queue: str, receipt: Receipt, acts: str, state: str) -> None:
    """The task goes on, and the ledger with it."""
    act(stage, queue, receipt.id, *acts.split())
    answer = receipt.cancel()
    assert answer == Cancellation(TOO_LATE, DeliveryStatus(state))
    assert not answer
    assert stage.ledger().counters.get("purged", 0) == 0


def test_a_dead_letter_is_too_late(stage: Stage, queue: str, receipt: Receipt) -> None:
    """It is for the commands of the dead-letter queue, which retry it, or purge it."""
    act(stage, queue, receipt.id, "take", "bury")
    assert receipt.cancel() == Cancellation(TOO_LATE, DEAD)
    assert stage.ledger().letters == 1


def test_a_message_that_was_not_there_is_no_success(stage: Stage, queue: str, receipt: Receipt) -> None:
    """A stock worker popped it: who knows whether it runs."""
    assert stage.client.rpop(queue)
    assert receipt.cancel() == Cancellation(TOO_LATE, DeliveryStatus.UNKNOWN)
    assert receipt.status() == "queued"


def test_a_receipt_without_a_message_is_not_found(app: Celery) -> None:
    """Never written, or expired."""
    with pytest.raises(ReceiptNotFound):
        Receipt("nothing", app).cancel()


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_timeout_is_a_number_of_seconds(receipt: Receipt, timeout: float) -> None:
    """And a bound."""
    with pytest.raises(ValueError, match="timeout is"):
        receipt.cancel(timeout=timeout)


@pytest.mark.one_server
def test_a_holder_that_says_nothing_keeps_the_message(stage: Stage, queue: str, receipt: Receipt) -> None:
    """Nobody is told that it is cancelled, the request is withdrawn, and who honours it too late gives back."""
    act(stage, queue, receipt.id, "take")
    with pytest.raises(ConfirmTimeout, match="is claimed, not cancelled"):
        receipt.cancel(timeout=0.3)
    assert not stage.client.exists(stage.keys.cancelling)
    assert stage.revoke(WORKER, receipt.id) == 0
    assert receipt.status() == "queued"
    assert stage.ledger().counters == {"published": 1}


@pytest.mark.one_server
@pytest.mark.parametrize("deed", ["revoke", "begin", "release"])
def test_a_holder_is_heard_at_once(
    server: EmbeddedRedis, prefix: str, stage: Stage, queue: str, receipt: Receipt, deed: str
) -> None:
    """Whatever it does, the answer is the one that is so."""
    act(stage, queue, receipt.id, "take")

    def do(theirs: Stage) -> None:
        getattr(theirs, deed)(WORKER, receipt.id)

    with meanwhile(server, prefix, do):
        answer = receipt.cancel(timeout=20)
    expected = {
        "revoke": Cancellation(REVOKED, DEAD, "consumer"),
        "begin": Cancellation(TOO_LATE, DeliveryStatus.STARTED),
        "release": Cancellation(REMOVED, DEAD, "queue"),
    }
    assert answer == expected[deed]
    assert stage.ledger().counters.get("purged", 0) == bool(answer)
    assert not stage.client.exists(stage.keys.cancelling)


@pytest.mark.one_server
def test_of_many_who_cancel_at_once_one_did_it(app: Celery, stage: Stage) -> None:
    """And all are told the truth."""
    receipts = [supervised_send("add", app=app) for _ in range(20)]
    answers: list[Cancellation] = []
    threads = [threading.Thread(target=lambda one=one: answers.append(one.cancel())) for one in receipts * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 80
    assert all(answers)
    assert [one.is_repeat for one in answers].count(False) == 20
    assert nothing_is_left(stage) == {"published": 20, "purged": 20}


def test_a_long_queue_is_searched_in_turns(stage: Stage) -> None:
    """A call looks at so many messages and says where to go on; a message that is moved on meanwhile is not missed."""
    names = [f"m{n}" for n in range(450)]
    for name in names:
        stage.publish(name, receipt=f"r-{name}")
    lists, place = [stage.list_key("q", step) for step in (0, 3)], Place()
    seen = []
    while True:
        call = cancel_call(stage.scope, long("r-m0"), lists, "a", patience_ms=0, place=place, limit=200)
        asked = Asked.parse(stage.run(call))
        seen.append(asked.said)
        if asked.said != "searching":
            break
        place = asked.go_on
        stage.run(cancel_call(stage.scope, long(f"r-m{440 - len(seen)}"), lists, "b", patience_ms=0))
    assert seen == ["searching", "searching", "searching", "cancelled"]
    assert stage.client.llen(lists[0]) == 446


def test_a_search_that_misses_is_made_again(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """What moved the other way while a long queue was searched is found the next time, or it is said to be astray."""
    receipts = [supervised_send("add", app=app) for _ in range(250)]
    places: list[Any] = []

    def by_little(*args: Any, place: Any, **options: Any) -> Any:
        places.append(place)
        if len(places) == 2:
            place = type(place)(3, 0)
        return cancel_call(*args, place=place, limit=200, **options)

    monkeypatch.setattr("hardening.delivery.cancelling.scripts.cancel", by_little)
    assert receipts[0].cancel()
    assert places.count((0, 0)) == 2
    places.clear()
    client_of(app).rpop(app.conf.task_default_queue, 2)
    assert receipts[2].cancel() == Cancellation(TOO_LATE, DeliveryStatus.UNKNOWN)
    assert places.count((0, 0)) == 4


def test_a_retry_on_another_queue_is_found_there(app: Celery, stage: Stage, receipt: Receipt, queue: str) -> None:
    """A receipt follows the newest message, and knows where that is."""
    act(stage, queue, receipt.id, "take", "begin")
    headers = {"hardening_receipt": receipt.id}
    app.send_task("add", task_id=receipt.id, queue=f"{queue}.other", headers=headers)
    assert receipt.details()["queue"] == f"{queue}.other"
    assert receipt.cancel() == Cancellation(REMOVED, DEAD, "queue")
    assert stage.client.llen(f"{queue}.other") == 0
    act(stage, queue, receipt.id, "ack")
    assert nothing_is_left(stage) == {"published": 2, "purged": 1, "acked": 1}


def test_an_idempotency_key_goes_on_naming_what_was_cancelled(app: Celery, stage: Stage) -> None:
    """The second send is told of the first, and publishes nothing."""
    first = supervised_send("add", app=app, idempotency_key="once")
    assert first.cancel()
    assert supervised_send("add", app=app, idempotency_key="once") == first
    assert nothing_is_left(stage) == {"published": 1, "purged": 1}


def test_whoever_waits_for_the_result_is_told(app: Celery, tmp_path: Path) -> None:
    """As after Celery's own revoke."""
    app.conf.update(result_backend=f"file://{tmp_path}")
    receipt = supervised_send("add", app=app)
    with telemetry.capture("hardening.message.cancelled") as told:
        assert receipt.cancel()
    assert str(AsyncResult(receipt.id, app=app).state) == "REVOKED"
    assert [event.is_result_told for event in told if isinstance(event, MessageCancelled)] == [True]


def test_a_result_backend_that_is_away_changes_nothing(app: Celery, tmp_path: Path) -> None:
    """The message is cancelled, and the event says that nobody was told."""
    app.conf.update(result_backend=f"file://{tmp_path}")
    receipt = supervised_send("add", app=app)
    tmp_path.rmdir()
    with telemetry.capture("hardening.message.cancelled") as told:
        assert receipt.cancel()
    assert [event.is_result_told for event in told if isinstance(event, MessageCancelled)] == [False]


def test_a_replay_that_went_elsewhere_is_found_there(app: Celery, stage: Stage, receipt: Receipt, queue: str) -> None:
    """The receipt learns the queue."""
    act(stage, queue, receipt.id, "take", "bury")
    (entry, fields), *_ = stage.client.xrange(stage.keys.dlq)
    raw = fields[b"raw"]
    again = raw.replace(raw[15:51], b"n".ljust(36, b"."), 1)
    assert stage.run(stage.scope.replay([(entry.decode(), "", f"{queue}.slow\x06\x163", again)])) == 1
    assert receipt.details()["queue"] == f"{queue}.slow"
    assert receipt.cancel() == Cancellation(REMOVED, DEAD, "queue")
    assert receipt.app is app


@pytest.fixture
def away(app: Celery, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Redis is away from the sender until this is undone."""

    def gone(*_: object, **__: object) -> None:
        raise RedisConnectionError("gone")

    client_of(app)
    monkeypatch.setattr("hardening.core.scripts.script.Call.run", gone)
    return monkeypatch


@pytest.mark.usefixtures("away")
def test_what_was_asked_of_no_one_is_not_known(app: Celery) -> None:
    """Neither yes nor no, in the time that was given."""
    with pytest.raises(CancelFailed, match="nobody knows whether"):
        Receipt("r", app).cancel(timeout=0.2)


def spooled(app: Celery, away: pytest.MonkeyPatch) -> Receipt:
    """A message that only this host has, and nobody flushes."""
    away.setattr("hardening.delivery.flusher.Flusher.start", lambda _: None)
    receipt = supervised_send("add", app=app, retries=0, timeout=0.5)
    assert fallback_of(app).spool.find(receipt.id)
    return receipt


def test_what_may_have_been_published_stays_spooled_while_redis_is_away(
    app: Celery, away: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else can tell. What was certainly never sent is removed."""
    receipt = spooled(app, away)
    monkeypatch.setattr("redis.Redis.exists", lambda *_: (_ for _ in ()).throw(RedisConnectionError("gone")))
    assert fallback_of(app).spool.find(receipt.id) == replace(
        fallback_of(app).spool.find(receipt.id),
        is_uncertain=True,  # type: ignore[type-var]
    )
    with pytest.raises(CancelFailed):
        receipt.cancel(timeout=0.5)
    assert fallback_of(app).spool.find(receipt.id)


def test_what_is_spooled_is_removed_from_this_host(app: Celery, away: pytest.MonkeyPatch, stage: Stage) -> None:
    """Redis is back and never had it; nothing knows of it any more."""
    receipt = spooled(app, away)
    away.undo()
    with telemetry.capture("hardening.message.cancelled") as told:
        assert receipt.cancel() == Cancellation(REMOVED, DEAD, "spool")
    assert [event.place for event in told if isinstance(event, MessageCancelled)] == ["spool"]
    assert fallback_of(app).spool.totals().waiting == 0
    assert nothing_is_left(stage) == {}
    with pytest.raises(ReceiptNotFound):
        receipt.cancel()


def test_what_was_spooled_and_published_all_the_same_is_cancelled_in_both_places(
    app: Celery, away: pytest.MonkeyPatch, stage: Stage
) -> None:
    """The reply to an earlier attempt was lost."""
    receipt = spooled(app, away)
    away.undo()
    found = fallback_of(app).spool.find(receipt.id)
    assert found is not None
    assert found.publication.call(stage.scope).run(client_of(app)) == 1
    assert receipt.cancel() == Cancellation(REMOVED, DEAD, "queue")
    assert fallback_of(app).spool.totals().waiting == 0
    assert nothing_is_left(stage) == {"published": 1, "purged": 1}


def test_a_spool_that_is_being_flushed_is_waited_for(app: Celery, away: pytest.MonkeyPatch) -> None:
    """In vain: then nobody knows."""
    receipt = spooled(app, away)
    away.undo()
    with fallback_of(app).spool.flushing(), pytest.raises(CancelFailed, match="is being flushed"):
        receipt.cancel(timeout=0.2)
    assert fallback_of(app).spool.find(receipt.id)
