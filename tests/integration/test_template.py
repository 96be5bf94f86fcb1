"""What is made from a template is what Celery makes one by one."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from celery import signals
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu import Exchange, Queue
from kombu.exceptions import EncodeError
from kombu.serialization import register

from hardening.core.raw import message_id, receipt_id
from hardening.delivery.draft import Draft
from hardening.delivery.shortcut import is_plain, is_uniform, send_plain
from hardening.delivery.template import QueueUnknown, Template

if TYPE_CHECKING:
    from celery import Celery

pytestmark = pytest.mark.one_server

register("other", json.dumps, json.loads, content_type="application/x-other")
_SOON = datetime.now(UTC) + timedelta(hours=1)
_FIELDS = {"task": "t", "guarantee": "at_least_once"}


@pytest.fixture
def shop(app: Celery) -> Celery:
    """An app with tasks of all kinds that a template serves."""
    app.conf.task_queues = [Queue(app.conf.task_default_queue), Queue("fast")]
    app.conf.task_routes = {"routed": {"queue": "fast", "priority": 3}}

    def anything(*args: Any, **kwargs: Any) -> None:
        pass

    options: dict[str, dict[str, Any]] = {
        "anything": {}, "routed": {}, "limited": {"time_limit": 7, "soft_time_limit": 5},
        "kept": {"ignore_result": True}, "squeezed": {"compression": "gzip"},
    }  # fmt: skip
    for name, has in options.items():
        cast("Any", app).task(name=name, shared=False, **has)(anything)
    return app


_LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=80)
_JSON = st.recursive(_LEAF, lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=3), of, max_size=2))
_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "headers": st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=2),
        "queue": st.just("fast"),
        "priority": st.integers(0, 9),
        "eta": st.just(_SOON),
        "serializer": st.sampled_from(["json", "other"]),
        "compression": st.just("zlib"),
    },
)


def unpacked(raw: bytes, receipt: str) -> Any:
    """A raw message with its body opened and its own ids checked and named."""
    payload = json.loads(raw)
    assert (receipt_id(raw), payload["properties"]["delivery_tag"]) == (receipt, message_id(raw))
    payload["hardening"] = payload["hardening"].replace(receipt, "r").replace(message_id(raw), "m")
    payload["properties"]["delivery_tag"] = "m"
    body = base64.b64decode(payload["body"])
    payload["body"] = zlib.decompress(body) if payload["headers"].get("compression") else body
    return json.loads(json.dumps(payload, default=bytes.decode).replace(receipt, "r"))


@pytest.mark.one_server
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["anything", "routed", "limited", "kept", "squeezed"]),
    calls=st.lists(
        st.tuples(st.lists(_JSON, max_size=9).map(tuple), st.dictionaries(st.text("xyz", min_size=1), _JSON)),
        min_size=1,
        max_size=3,
    ),
    options=_OPTIONS,
)
def test_a_message_of_a_template_is_that_of_celery(
    shop: Celery, name: str, calls: list[tuple[tuple[Any, ...], dict[str, Any]]], options: dict[str, Any]
) -> None:
    """But for its ids, which are its own in all places; and it goes to the same place at the same time."""
    task = shop.tasks[name]
    assert is_plain(task, shop, {"task_id": "x", **options})
    assert is_uniform(task, shop)
    template = Template(task, dict(options), _FIELDS)
    made = set()
    for args, kwargs in calls:
        receipt, raw = template.message(args, kwargs)
        draft = Draft(shop, receipt, {**_FIELDS, "task_id": receipt})
        send_plain(task, args, kwargs, {**options, "task_id": receipt}, draft)
        alone = draft.publication
        assert alone is not None
        assert unpacked(raw, receipt) == unpacked(alone.raw, receipt)
        same = template.completed(receipt, raw)
        assert (same.list_key, same.queue, same.due_ms, same.fields) == (
            alone.list_key, alone.queue, alone.due_ms, alone.fields,
        )  # fmt: skip
        made |= {receipt, message_id(raw)}
    assert len(made) == 2 * len(calls)


@pytest.mark.parametrize("size", [100, 1000, 1030, 5000])
def test_long_arguments_are_shown_as_celery_shows_them(shop: Celery, size: int) -> None:
    """Cut where it cuts."""
    template = Template(shop.tasks["anything"], {}, _FIELDS)
    args = tuple([int("7" * (size // 8))] * 8)
    receipt, raw = template.message(args, {})
    draft = Draft(shop, receipt, dict(_FIELDS))
    send_plain(shop.tasks["anything"], args, {}, {"task_id": receipt}, draft)
    assert json.loads(raw)["headers"]["argsrepr"] == draft.payload["headers"]["argsrepr"]


def test_what_no_body_can_hold_is_told_as_kombu_tells_it(shop: Celery) -> None:
    """And the next message is none the worse for it."""
    template = Template(shop.tasks["anything"], {}, _FIELDS)
    with pytest.raises(EncodeError, match="not JSON serializable"):
        template.message((object(),), {})
    assert template.message((1,), {})


def test_arguments_that_the_task_does_not_take_are_refused(shop: Celery) -> None:
    """Each time anew."""

    @shop.task(name="one", shared=False)
    def one(only: int) -> None:
        pass

    template = Template(one, {}, _FIELDS)
    with pytest.raises(TypeError, match="positional argument"):
        template.message((), {})


def test_the_backend_hears_of_each_message(shop: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have to subscribe to the result; not where there will be none."""
    heard: list[str] = []
    monkeypatch.setattr(shop.backend, "on_task_call", lambda _, task_id: heard.append(task_id))
    receipts = [Template(shop.tasks[name], {}, _FIELDS).message((), {})[0] for name in ("anything", "kept")]
    assert heard == receipts[:1]


def test_where_an_exchange_leads_is_not_known_beforehand(shop: Celery, prefix: str) -> None:
    """Then there is no template."""
    shop.conf.task_queues = [Queue("mail", Exchange(f"{prefix}.topic", "topic"), routing_key="mail.#")]
    with pytest.raises(QueueUnknown):
        Template(shop.tasks["anything"], {"queue": "mail"}, _FIELDS)


@pytest.mark.parametrize("signal", ["before_task_publish", "after_task_publish", "task_sent"])
def test_where_somebody_listens_messages_are_sent_one_by_one(shop: Celery, signal: str) -> None:
    """Signals have a message each."""
    task = shop.tasks["anything"]
    assert is_uniform(task, shop)

    def listener(**_: Any) -> None:
        pass

    getattr(signals, signal).connect(listener)
    try:
        assert not is_uniform(task, shop)
    finally:
        getattr(signals, signal).disconnect(listener)
    assert is_uniform(task, shop)


def test_where_messages_may_differ_they_are_sent_one_by_one(shop: Celery) -> None:
    """With events of each, names of their own, or routes that look at arguments."""
    task = shop.tasks["anything"]

    @cast("Any", shop).task(name="shadowed", shared=False, shadow_name=lambda *_: "x")  # type: ignore[untyped-decorator]
    def shadowed() -> None:
        pass

    assert not is_uniform(shop.tasks["shadowed"], shop)
    shop.conf.task_send_sent_event = True
    assert not is_uniform(task, shop)
    shop.conf.task_send_sent_event = False
    shop.conf.task_routes = (lambda *_, **__: None,)
    shop.amqp.flush_routes()
    del shop.amqp.__dict__["router"]
    assert not is_uniform(task, shop)
