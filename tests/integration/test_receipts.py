"""Receipts: where a message is, where it has been, and waiting for it to get somewhere."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from hardening import harden, supervised_send
from hardening.core.deployment import client_of, scope_of
from hardening.core.errors import ConfirmTimeout, MessageDied, ReceiptNotFound
from hardening.core.membership import boot_clock_s
from hardening.core.payload import RECEIPT_HEADER
from hardening.delivery import DeliveryStatus, Receipt
from tests.eventually import eventually
from tests.integration.acting import ACTS, WORKER, act, meanwhile

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis
    from tests.integration.stage import Stage

pytestmark = pytest.mark.one_server


@pytest.fixture
def receipt(app: Celery, stage: Stage) -> Receipt:
    """Of a message that was just sent; a worker is there and has done nothing yet."""
    stage.join(WORKER)
    return supervised_send("add", app=app)


def states(receipt: Receipt) -> list[str]:
    """The states of a receipt, oldest first."""
    return [change.state.value for change in receipt.history()]


def test_a_receipt_knows_where_its_message_is(stage: Stage, queue: str, receipt: Receipt) -> None:
    """At each step of its life."""
    seen = [receipt.status()]
    for name in ACTS:
        act(stage, queue, receipt.id, name)
        seen.append(receipt.status())
    assert seen == [DeliveryStatus.QUEUED, DeliveryStatus.CLAIMED, DeliveryStatus.STARTED, DeliveryStatus.ACKED]


def test_a_receipt_knows_where_its_message_has_been(stage: Stage, queue: str, receipt: Receipt) -> None:
    """When, by the clock of Redis, and by whose doing."""
    act(stage, queue, receipt.id, *ACTS)
    history = receipt.history()
    assert [(change.state, change.worker) for change in history] == [
        ("queued", ""), ("claimed", WORKER), ("started", WORKER), ("acked", WORKER),
    ]  # fmt: skip
    times = [change.at for change in history]
    assert times == sorted(times)
    assert abs(datetime.now(UTC) - times[0]) < timedelta(minutes=1)


def test_a_receipt_tells_what_is_known(app: Celery, queue: str, receipt: Receipt) -> None:
    """All of it, as text."""
    details = receipt.details()
    assert abs(int(details.pop("created_ms")) / 1000 - datetime.now(UTC).timestamp()) < 60
    assert len(details.pop("message")) == 36
    assert details == {
        "task": "add", "task_id": receipt.id, "queue": queue, "state": "queued", "worker": "", "reason": "",
        "guarantee": "at_least_once",
    }  # fmt: skip
    assert app is receipt.app


@pytest.mark.parametrize(("acks_late", "guarantee"), [(True, "at_least_once"), (False, "at_most_once")])
def test_a_receipt_tells_what_is_guaranteed(app: Celery, *, acks_late: bool, guarantee: str) -> None:
    """A task that is acknowledged before it runs may be lost with its worker, and says so."""

    @app.task(name="add", shared=False, acks_late=acks_late)
    def add() -> None:
        pass

    assert supervised_send(add).details()["guarantee"] == guarantee


def test_a_receipt_is_found_by_its_id_from_anywhere(app: Celery, receipt: Receipt) -> None:
    """Another process of the same deployment has only the id."""
    other = Celery("other", broker=app.conf.broker_url, set_as_current=False)
    other.conf.hardening_prefix = app.conf.hardening_prefix
    found = Receipt.load(receipt.id, app=harden(other))
    assert (found.id, found.status(), found.details()) == (receipt.id, receipt.status(), receipt.details())


def test_a_receipt_that_never_was_is_not_found(app: Celery) -> None:
    """And has no state."""
    with pytest.raises(ReceiptNotFound, match="no receipt nothing: never written, or expired"):
        Receipt.load("nothing", app=app)
    nothing = Receipt("nothing", app)
    assert (nothing.status(), nothing.history(), nothing.details()) == (DeliveryStatus.UNKNOWN, [], {})
    with pytest.raises(ReceiptNotFound):
        nothing.wait("queued", 0.05)


def test_a_receipt_expires_after_its_last_change(server: EmbeddedRedis, prefix: str, queue: str, stage: Stage) -> None:
    """The message is no less safe for it, and a retry does not wake it."""
    app = Celery("brief", broker=server.broker_url, set_as_current=False)
    app.conf.update(task_default_queue=queue, hardening_prefix=prefix, hardening_receipt_ttl_s=1)
    receipt = supervised_send("add", app=harden(app))
    assert receipt.status() == "queued"
    eventually(lambda: receipt.status() == "unknown" and not receipt.history(), 5)
    with pytest.raises(ReceiptNotFound):
        Receipt.load(receipt.id, app=app)
    stage.join(WORKER)
    act(stage, queue, receipt.id, *ACTS)
    assert not stage.client.exists(stage.keys.delivery(receipt.id), stage.keys.changes(receipt.id))
    assert stage.ledger().counters == {"published": 1, "acked": 1}


@pytest.mark.parametrize("awaited", ["queued", "claimed", "started", "acked"])
@pytest.mark.parametrize("has_come", [0, 1, 2, 3])
def test_what_has_come_already_need_not_be_waited_for(
    stage: Stage, queue: str, receipt: Receipt, awaited: str, has_come: int
) -> None:
    """The state may be further along; one that has not come in time is told, with the one that has."""
    act(stage, queue, receipt.id, *ACTS[:has_come])
    order = ["queued", "claimed", "started", "acked"]
    if order.index(awaited) <= has_come:
        assert receipt.wait(awaited, 0.05) == order[has_come]
        return
    with pytest.raises(ConfirmTimeout) as raised:
        receipt.wait(awaited, 0.05)
    assert vars(raised.value) == {
        "receipt_id": receipt.id, "awaited": awaited, "state": order[has_come], "timeout_s": 0.05
    }  # fmt: skip


@pytest.mark.parametrize(("awaited", "acts"), [("claimed", 1), ("started", 2), ("acked", 3)])
def test_a_waiter_hears_of_each_state(
    server: EmbeddedRedis, prefix: str, queue: str, receipt: Receipt, awaited: str, acts: int
) -> None:
    """While a worker goes through them."""
    with meanwhile(server, prefix, lambda stage: act(stage, queue, receipt.id, *ACTS[:acts])):
        assert receipt.wait(awaited, 20) == awaited


def test_a_waiter_waits_as_long_as_it_was_told(receipt: Receipt) -> None:
    """Not less, and not much more."""
    began_s = boot_clock_s()
    with pytest.raises(ConfirmTimeout):
        receipt.wait("claimed", 0.3)
    assert 0.3 <= boot_clock_s() - began_s < 2


def test_a_wait_may_be_longer_than_a_socket_waits(server: EmbeddedRedis, prefix: str, queue: str, stage: Stage) -> None:
    """It asks anew from where it was."""
    app = Celery("impatient", broker=server.broker_url, set_as_current=False)
    app.conf.update(task_default_queue=queue, hardening_prefix=prefix, hardening_socket_timeout_s=0.2)
    receipt = supervised_send("add", app=harden(app))
    stage.join(WORKER)
    for name, state in zip(ACTS, ("claimed", "started", "acked"), strict=True):
        timer = threading.Timer(0.4, act, (stage, queue, receipt.id, name))
        timer.start()
        assert receipt.wait(state, 20) == state
        timer.join()


def test_a_waiter_hears_of_death(server: EmbeddedRedis, prefix: str, queue: str, receipt: Receipt) -> None:
    """Whatever it was waiting for; with the reason."""

    def die(stage: Stage) -> None:
        act(stage, queue, receipt.id, "take")
        stage.bury(WORKER, receipt.id, "timeout")

    with meanwhile(server, prefix, die), pytest.raises(MessageDied) as raised:
        receipt.wait("acked", 20)
    assert vars(raised.value) == {"receipt_id": receipt.id, "reason": "timeout"}
    assert receipt.wait("claimed", 0.05) == "dead"


def test_a_waiter_hears_of_a_purge(app: Celery, queue: str, receipt: Receipt) -> None:
    """An operator's word."""
    with app.connection_for_write() as connection:
        assert connection.default_channel.queue_purge(queue) == 1
    with pytest.raises(MessageDied, match="purged"):
        receipt.wait("acked", 5)


def test_a_death_that_was_replayed_is_over(
    server: EmbeddedRedis, prefix: str, queue: str, stage: Stage, receipt: Receipt
) -> None:
    """The receipt follows the message that came of it."""
    act(stage, queue, receipt.id, "take")
    stage.bury(WORKER, receipt.id)
    ((entry_id, entry),) = stage.client.xrange(stage.keys.dlq)
    raw = entry[b"raw"].replace(entry[b"message"], b"n" * 36)
    assert stage.run(stage.scope.replay([(entry_id.decode(), "", queue, raw)])) == 1
    with meanwhile(server, prefix, lambda own: act(own, queue, receipt.id, *ACTS)):
        assert receipt.wait("acked", 20) == "acked"
    assert states(receipt) == ["queued", "claimed", "dead", "queued", "claimed", "started", "acked"]


def test_a_retry_of_the_task_carries_the_receipt_on(app: Celery, stage: Stage, queue: str, receipt: Receipt) -> None:
    """As Celery sends it: a new message with the old headers; the old message's ack changes nothing."""
    act(stage, queue, receipt.id, "take", "begin")
    app.send_task("add", task_id=receipt.id, retries=1, headers={RECEIPT_HEADER: receipt.id})
    act(stage, queue, receipt.id, "ack")
    assert receipt.status() == "queued"
    with pytest.raises(ConfirmTimeout):
        receipt.wait("acked", 0.05)
    act(stage, queue, receipt.id, *ACTS)
    assert receipt.wait("acked", 5) == "acked"
    assert states(receipt) == ["queued", "claimed", "started", "queued", "claimed", "started", "acked"]
    assert stage.ledger().counters == {"published": 2, "acked": 2}


def test_many_can_wait_at_once(app: Celery, stage: Stage, queue: str, receipt: Receipt) -> None:
    """More than kombu's pool has connections."""
    heard: list[str] = []
    threads = [threading.Thread(target=lambda: heard.append(receipt.wait("acked", 20))) for _ in range(25)]
    for thread in threads:
        thread.start()
    eventually(lambda: stage.client.info("clients")["blocked_clients"] >= 25)
    act(stage, queue, receipt.id, *ACTS)
    for thread in threads:
        thread.join(20)
    assert heard == [DeliveryStatus.ACKED] * 25
    assert client_of(app) is client_of(app)


def test_calls_are_signed_by_whoever_makes_them(app: Celery, prefix: str) -> None:
    """With the deployment's prefix and its receipts' time."""
    scope = scope_of(app, "me")
    assert (scope.keys.prefix, scope.receipt_ttl_ms, scope.worker) == (prefix, 86_400_000, "me")
