"""supervised_send goes through Celery's own machinery: what can be said to apply_async can be said to it."""

from __future__ import annotations

import base64
import json
import threading
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery.signals import after_task_publish, before_task_publish
from kombu import Exchange, Queue

from hardening import supervised_send
from hardening.core.errors import ConfigError
from hardening.core.raw import message_id, receipt_id
from tests.eventually import eventually
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from hardening.delivery import Receipt


@pytest.fixture
def add(app: Celery) -> Any:
    """A task with options of its own."""

    @app.task(name="add", shared=False, expires=600, compression="zlib")
    def add(x: int, y: int = 0) -> int:
        return x + y

    return add


def sent(stage: Stage, list_key: str) -> tuple[dict[str, Any], list[Any]]:
    """The one message on a list: its payload and its body."""
    (raw,) = stage.client.lrange(list_key, 0, -1)
    payload = json.loads(raw)
    body = base64.b64decode(payload["body"])
    if payload["headers"].get("compression"):
        body = zlib.decompress(body)
    assert payload["properties"]["delivery_tag"] == message_id(raw)
    assert payload["headers"]["hardening_receipt"] == receipt_id(raw)
    return payload, json.loads(body)


@pytest.mark.parametrize(
    ("send", "args", "kwargs"),
    [
        (lambda add: supervised_send(add, (1,), {"y": 2}), [1], {"y": 2}),
        (lambda add: supervised_send(add, [1, 2]), [1, 2], {}),
        (lambda add: supervised_send("add", (1,), {"y": 2}, app=add.app), [1], {"y": 2}),
        (lambda add: supervised_send(add.s(2), (1,)), [1, 2], {}),
        (lambda add: supervised_send(add.si(1, y=2), (7,)), [1], {"y": 2}),
        (lambda add: supervised_send(add.s(1), kwargs={"y": 2}), [1], {"y": 2}),
    ],
    ids=["task", "list", "name", "signature", "immutable", "signature-kwargs"],
)
def test_a_task_is_sent_by_itself_its_name_or_a_signature(
    stage: Stage, add: Any, queue: str, send: Callable[[Any], Receipt], args: list[int], kwargs: dict[str, int]
) -> None:
    """With its arguments, on its queue, under the receipt's id."""
    receipt = send(add)
    payload, body = sent(stage, queue)
    assert body[:2] == [args, kwargs]
    assert (payload["headers"]["task"], payload["headers"]["id"]) == ("add", receipt.id)
    assert payload["properties"]["delivery_info"] == {"exchange": "", "routing_key": queue}
    assert receipt.details()["task"] == "add"
    assert stage.ledger().counters == {"published": 1}


def test_a_name_is_sent_by_the_current_app(app: Celery, stage: Stage, queue: str) -> None:
    """As ``send_task`` does; what is current is so in one thread."""

    def send() -> None:
        app.set_current()
        receipts.append(supervised_send("add", (1,)))

    receipts: list[Any] = []
    thread = threading.Thread(target=send)
    thread.start()
    thread.join(10)
    assert sent(stage, queue)[0]["headers"]["id"] == receipts[0].id


def test_a_tasks_own_options_hold_and_can_be_overridden(stage: Stage, add: Any, queue: str) -> None:
    """As for ``apply_async``."""
    supervised_send(add, (1,))
    headers = sent(stage, queue)[0]["headers"]
    assert headers["compression"] == "application/x-gzip"
    assert (
        timedelta(seconds=500) < datetime.fromisoformat(headers["expires"]) - datetime.now(UTC) < timedelta(seconds=601)
    )
    supervised_send(add, (1,), expires=None, priority=9)
    assert sent(stage, f"{queue}\x06\x169")[0]["headers"]["expires"] is None


@pytest.mark.parametrize(
    ("priority", "step"), [(0, 0), (2, 0), (3, 3), (5, 3), (6, 6), (8, 6), (9, 9), (99, 9), (-1, 0)]
)
def test_a_priority_is_rounded_down_to_a_step(app: Celery, stage: Stage, queue: str, priority: int, step: int) -> None:
    """As kombu rounds it."""
    supervised_send("add", app=app, priority=priority)
    sent(stage, f"{queue}\x06\x16{step}" if step else queue)


@pytest.mark.parametrize(
    "options_for",
    [
        lambda _: {"countdown": 3600},
        lambda due: {"eta": due},
        lambda due: {"eta": due.replace(tzinfo=None)},
        lambda due: {"eta": due.isoformat()},
    ],
    ids=["countdown", "aware", "naive", "text"],
)
def test_a_message_for_later_is_held(
    app: Celery, stage: Stage, options_for: Callable[[datetime], dict[str, Any]]
) -> None:
    """In Redis, until it is due, by whichever way it was said."""
    receipt = supervised_send("add", app=app, **options_for(datetime.now(UTC) + timedelta(hours=1)))
    assert stage.state().scheduled == [receipt.id]
    ((_, due_ms),) = stage.client.zrange(stage.keys.scheduled, 0, -1, withscores=True)
    assert abs(due_ms - stage.now_ms() - 3_600_000) < 60_000
    assert receipt.status() == "scheduled"


def test_headers_and_ids_and_metadata_travel_with_the_message(app: Celery, stage: Stage, queue: str) -> None:
    """A task id of the sender's own is no receipt's id."""
    headers = {"tenant": "acme"}
    receipt = supervised_send(
        "add",
        app=app,
        task_id="order-7",
        headers=headers,
        metadata={"why": ["test"]},
        shadow="add-7",
        ignore_result=True,
    )
    payload, _ = sent(stage, queue)
    carried = {"tenant": "acme", "id": "order-7", "hardening_metadata": {"why": ["test"]}, "shadow": "add-7"}
    assert {name: payload["headers"][name] for name in carried} == carried
    assert payload["headers"]["hardening_receipt"] == receipt.id != "order-7"
    assert payload["properties"]["correlation_id"] == "order-7"
    assert receipt.details()["task_id"] == "order-7"
    assert headers == {"tenant": "acme"}


def test_another_queue_may_be_named(app: Celery, stage: Stage, prefix: str) -> None:
    """Declared or not."""
    receipt = supervised_send("add", app=app, queue=f"{prefix}.other")
    assert sent(stage, f"{prefix}.other")[0]["headers"]["id"] == receipt.id
    assert stage.state() == State(queued={"other": [receipt.id]}, rung={"other"})
    assert receipt.details()["queue"] == f"{prefix}.other"


def test_routes_are_followed(app: Celery, stage: Stage, prefix: str) -> None:
    """They are Celery's to apply."""
    app.conf.task_routes = {"add": {"queue": f"{prefix}.routed"}}
    receipt = supervised_send("add", app=app)
    assert stage.state() == State(queued={"routed": [receipt.id]}, rung={"routed"})


def topic(prefix: str, name: str, key: str) -> Queue:
    """A queue behind a topic exchange."""
    return Queue(f"{prefix}.{name}", Exchange(f"{prefix}.topic", type="topic"), routing_key=key)


def test_an_exchange_that_leads_to_one_queue_is_followed(app: Celery, stage: Stage, prefix: str) -> None:
    """Also when no worker has ever declared it."""
    app.conf.task_queues = [topic(prefix, "orders", "orders.#"), topic(prefix, "mail", "mail.*")]
    receipt = supervised_send(
        "add", app=app, queue=f"{prefix}.orders", routing_key="orders.new.eu", exchange=f"{prefix}.topic"
    )
    assert stage.state() == State(queued={"orders": [receipt.id]}, rung={"orders"})
    again = supervised_send("add", app=app, queue=f"{prefix}.mail")
    assert stage.state().queued["mail"] == [again.id]
    payload, _ = sent(stage, f"{prefix}.orders")
    assert payload["properties"]["delivery_info"] == {"exchange": f"{prefix}.topic", "routing_key": "orders.new.eu"}


def test_an_exchange_that_leads_to_none_or_several_is_refused(app: Celery, stage: Stage, prefix: str) -> None:
    """A receipt follows one message; nothing is sent."""
    both = [topic(prefix, "one", "orders.#"), topic(prefix, "two", "#")]
    app.conf.task_queues = both
    for queue in both:
        with app.connection_for_write() as connection:
            queue(connection.default_channel).declare()
    with pytest.raises(
        ConfigError, match="leads to 2 queues: a supervised send goes to exactly one, name it with queue="
    ):
        supervised_send("add", app=app, exchange=f"{prefix}.topic", routing_key="orders.new", on_error="ignore")
    with pytest.raises(ConfigError, match="leads to 0 queues"):
        supervised_send("add", app=app, exchange=f"{prefix}.nowhere", routing_key="orders.new", on_error="ignore")
    assert stage.state() == State()
    assert not stage.client.exists(f"{prefix}.one", f"{prefix}.two")


@pytest.mark.parametrize("where", ["option", "conf"])
def test_bodies_can_be_compressed(app: Celery, stage: Stage, queue: str, where: str) -> None:
    """By either of the ways Celery knows."""
    options: dict[str, Any] = {"compression": "zlib"} if where == "option" else {}
    if where == "conf":
        app.conf.task_compression = "zlib"
    supervised_send("add", ("x" * 10_000,), app=app, **options)
    payload, body = sent(stage, queue)
    assert payload["headers"]["compression"] == "application/x-gzip"
    assert len(payload["body"]) < 1000
    assert body[0] == ["x" * 10_000]


def test_signals_fire_around_the_publication(app: Celery, stage: Stage, queue: str) -> None:
    """Tracing lives on them; what a receiver puts into the headers is sent."""
    seen: list[tuple[str, Any, int]] = []

    def before(sender: str, headers: dict[str, Any], **_: Any) -> None:
        headers["trace"] = "abc"
        seen.append(("before", sender, stage.client.llen(queue)))

    def after(sender: str, headers: dict[str, Any], **_: Any) -> None:
        seen.append(("after", headers["trace"], stage.client.llen(queue)))
        assert sender == "add"

    before_task_publish.connect(before)
    after_task_publish.connect(after)
    try:
        supervised_send("add", app=app)
    finally:
        before_task_publish.disconnect(before)
        after_task_publish.disconnect(after)
    assert seen == [("before", "add", 0), ("after", "abc", 1)]
    assert sent(stage, queue)[0]["headers"]["trace"] == "abc"


def test_events_of_sent_tasks_are_sent_as_events(app: Celery, stage: Stage, queue: str) -> None:
    """Monitors such as Flower see the task; the receipt is not theirs, and neither is a place in the ledger."""
    app.conf.task_send_sent_event = True
    heard: list[dict[str, Any]] = []

    def listen() -> None:
        def hear(event: dict[str, Any]) -> None:
            heard.append(event)
            receiver.should_stop = True

        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"task-sent": hear})
            receiver.capture(limit=None, timeout=10, wakeup=False)

    listeners = stage.client.pubsub_numpat()
    thread = threading.Thread(target=listen)
    thread.start()
    eventually(lambda: stage.client.pubsub_numpat() > listeners)
    receipt = supervised_send("add", app=app)
    thread.join(10)
    ((event,),) = [[{name: one[name] for name in ("type", "uuid", "queue")} for one in heard]]
    assert event == {"type": "task-sent", "uuid": receipt.id, "queue": queue}
    assert receipt.history()[-1].state == "queued"
    assert stage.ledger().counters == {"published": 1}
