"""Every option of apply_async means to a supervised send what it means to Celery; what is none is refused."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from kombu import Exchange, Queue

from hardening import send_many, supervised_send
from tests.integration.spooling import app_for
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server

SOON = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
#: Options, and what of the message they must set; None: only that it is as Celery makes it.
OPTIONS: dict[str, tuple[dict[str, Any], Callable[[Any], object] | None]] = {
    "queue": ({"queue": "OTHER"}, lambda m: m["properties"]["delivery_info"]["routing_key"] == "OTHER"),
    "routing_key": (
        {"queue": "ORDERS", "exchange": "EXCHANGE", "routing_key": "orders.new"},
        lambda m: "orders.new" in str(m),
    ),
    "exchange": ({"queue": "ORDERS", "exchange": Exchange("EXCHANGE", type="topic"), "routing_key": "orders.x"}, None),
    "priority": ({"priority": 6}, lambda m: m["properties"]["priority"] == 6),
    "headers": ({"headers": {"tenant": "acme"}}, lambda m: m["headers"]["tenant"] == "acme"),
    "expires": ({"expires": SOON}, lambda m: m["headers"]["expires"] == SOON.isoformat()),
    "eta": ({"eta": SOON}, lambda m: m["headers"]["eta"] == SOON.isoformat()),
    "countdown": ({"countdown": 3600}, lambda m: datetime.fromisoformat(m["headers"]["eta"]) > datetime.now(UTC)),
    "serializer": ({"serializer": "json"}, lambda m: m["content-type"] == "application/json"),
    "compression": ({"compression": "zlib"}, lambda m: m["headers"]["compression"] == "application/x-gzip"),
    "link": ({"link": "SIGNATURE"}, lambda m: m["body"][2]["callbacks"][0]["task"] == "add"),
    "link_error": ({"link_error": "SIGNATURE"}, lambda m: m["body"][2]["errbacks"][0]["task"] == "add"),
    "shadow": ({"shadow": "nick"}, lambda m: m["headers"]["shadow"] == "nick"),
    "ignore_result": ({"ignore_result": True}, lambda m: m["headers"]["ignore_result"] is True),
    "time_limit": ({"time_limit": 9}, lambda m: m["headers"]["timelimit"][0] == 9),
    "soft_time_limit": ({"soft_time_limit": 8}, lambda m: m["headers"]["timelimit"][1] == 8),
    "task_id": ({"task_id": "order-7"}, lambda m: m["headers"]["id"] == "order-7"),
    "reply_to": ({"reply_to": "me"}, lambda m: m["properties"]["reply_to"] == "me"),
    "root_id": ({"root_id": "root"}, lambda m: m["headers"]["root_id"] == "root"),
    "parent_id": ({"parent_id": "parent"}, lambda m: m["headers"]["parent_id"] == "parent"),
    "group_id": ({"group_id": "g", "group_index": 3}, lambda m: m["headers"]["group_index"] == 3),
    "chord": ({"chord": "SIGNATURE"}, lambda m: m["body"][2]["chord"]["task"] == "add"),
    "chain": ({"chain": ["SIGNATURE"]}, lambda m: m["body"][2]["chain"]),
    "argsrepr": ({"argsrepr": "(...)", "kwargsrepr": "{...}"}, lambda m: m["headers"]["argsrepr"] == "(...)"),
    "origin": ({"origin": "here"}, lambda m: m["headers"]["origin"] == "here"),
    "stamps": (
        {"stamped_headers": ["batch"], "batch": "b7"},
        lambda m: m["headers"]["stamps"] == {"batch": "b7"},
    ),
    "retry": ({"retry": False, "retry_policy": {"max_retries": 1}}, None),
    "delivery_mode": ({"delivery_mode": 1}, lambda m: m["properties"]["delivery_mode"] == 1),
    "properties": (
        {"user_id": "u", "app_id": "a", "message_id": "m", "type": "t", "timestamp": 7, "cluster_id": "c"},
        lambda m: m["properties"]["user_id"] == "u",
    ),
}
#: Celery hands these on to every property of AMQP, which our payload need not have.
MADE_ANEW = ("delivery_tag", "expiration")


@pytest.fixture
def hardened(server: EmbeddedRedis, prefix: str) -> Celery:
    """An app on the stage's queue, with a queue behind a topic exchange."""
    return _with_task(app_for(server.broker_url, prefix, task_queues=_queues(prefix)))


@pytest.fixture
def stock(server: EmbeddedRedis, prefix: str) -> Celery:
    """The same without us."""
    app = Celery("stock", broker=server.broker_url, set_as_current=False)
    app.conf.update(task_default_queue=f"{prefix}.q", task_queues=_queues(prefix))
    with app.connection_for_write() as connection:
        _queues(prefix)[-1](connection.default_channel).declare()
    return _with_task(app)


def _queues(prefix: str) -> list[Queue]:
    topic = Exchange(f"{prefix}.topic", type="topic")
    return [Queue(f"{prefix}.q"), Queue(f"{prefix}.other"), Queue(f"{prefix}.orders", topic, routing_key="orders.#")]


def _with_task(app: Celery) -> Celery:
    @app.task(name="add", shared=False, time_limit=360, soft_time_limit=300)  # harden() would set them
    def add(x: int, y: int = 0) -> int:
        return x + y

    app.finalize()
    return app


def given(options: dict[str, Any], app: Celery, prefix: str) -> dict[str, Any]:
    """Options with their placeholders filled in."""
    places = {"OTHER": f"{prefix}.other", "ORDERS": f"{prefix}.orders", "EXCHANGE": f"{prefix}.topic"}

    def fill(value: Any) -> Any:
        if value == "SIGNATURE":
            return app.tasks["add"].si(7, 8).set(task_id="linked")
        if isinstance(value, Exchange):
            return Exchange(f"{prefix}.topic", type="topic")
        if isinstance(value, list):
            return [fill(one) for one in value]
        return places.get(value, value) if isinstance(value, str) else value

    return {name: fill(value) for name, value in options.items()}


def message(raw: bytes, prefix: str) -> Any:
    """A message as it is, but for what is another each time."""
    payload = json.loads(raw.replace(f"{prefix}.other".encode(), b"OTHER"))
    payload.pop("hardening", None)
    payload["headers"].pop("hardening_receipt", None)
    body = base64.b64decode(payload["body"])
    if not payload["headers"].get("compression"):
        payload["body"] = json.loads(body)
    text = json.dumps(payload)
    for name in ("id", "correlation_id"):
        own = payload["headers"]["id"]
        text = text.replace(f'"{own}"', f'"{name}"') if len(own) == 36 else text
    payload = json.loads(text)
    for name in MADE_ANEW:
        payload["properties"].pop(name, None)
    return payload


def the_one(client: Any, prefix: str) -> bytes:
    """The raw message that is on one of the lists, or scheduled; it is taken away."""
    found = []
    for key in client.scan_iter(f"{prefix}.*", count=10_000):
        if client.type(key) == b"list":
            found += client.lrange(key, 0, -1)
            client.delete(key)
    for entry in client.hvals(f"{prefix}:scheduled:messages"):
        size, _, rest = entry.partition(b":")
        found.append(rest[int(size) :])
    (raw,) = found
    return bytes(raw)


@pytest.mark.parametrize("how", ["task", "name", "signature"])
@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_makes_the_message_that_celery_makes(
    hardened: Celery, stock: Celery, stage: Stage, prefix: str, name: str, how: str
) -> None:
    """By whichever way the task is named; and where it goes, it goes."""
    options, is_so = OPTIONS[name]

    def of(app: Celery) -> Any:
        return {"task": app.tasks["add"], "name": "add", "signature": app.tasks["add"].s()}[how]

    filled = given(options, stock, prefix)
    if how == "name":
        stock.send_task("add", (1,), {"y": 2}, **filled)
    else:
        of(stock).apply_async((1,), {"y": 2}, **filled)
    expected = message(the_one(stage.client, prefix), prefix)
    receipt = supervised_send(
        of(hardened), (1,), {"y": 2}, app=hardened, on_error="raise", **given(options, hardened, prefix)
    )
    made = message(the_one(stage.client, prefix), prefix)
    for one in (expected, made):  # a countdown is counted from when it is said
        if name == "countdown":
            assert abs(datetime.fromisoformat(one["headers"]["eta"]) - datetime.now(UTC) - timedelta(hours=1)) < (
                timedelta(seconds=30)
            )
            one["headers"]["eta"] = "later"
    hidden = {"origin"} if name != "origin" else set()
    for one in (expected, made):
        one["headers"] = {key: value for key, value in one["headers"].items() if key not in hidden}
        one["properties"].pop("reply_to") if name != "reply_to" else None
    assert made == expected
    assert is_so is None or name == "countdown" or is_so(made)
    assert receipt.status() in ("queued", "scheduled")


@pytest.mark.parametrize("delay", [3600, 3600.0, timedelta(hours=1)])
@pytest.mark.parametrize("how", ["task", "name", "many"])
def test_a_delay_is_a_countdown(hardened: Celery, stage: Stage, delay: Any, how: str) -> None:
    """In seconds, or as a timedelta."""
    task = hardened.tasks["add"]
    if how == "many":
        (receipt,) = send_many(task, [(1,)], delay=delay)
    else:
        receipt = supervised_send(task if how == "task" else "add", (1,), app=hardened, delay=delay)
    assert stage.state().scheduled == [receipt.id]
    ((_, due_ms),) = stage.client.zrange(stage.keys.scheduled, 0, -1, withscores=True)
    assert abs(due_ms - stage.now_ms() - 3_600_000) < 60_000


def test_no_delay_is_now(hardened: Celery, stage: Stage) -> None:
    """Whether it is none or zero."""
    sent = [supervised_send("add", (1,), app=hardened, delay=delay).id for delay in (None, 0, timedelta(0))]
    assert stage.state() == State(queued={"q": sent}, rung={"q"})
