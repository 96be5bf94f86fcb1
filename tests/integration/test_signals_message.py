"""The messages of signals: cut from a mould, they are what Celery would have made."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.signals import after_task_publish
from kombu.compression import decompress

from hardening import emit, error_context, subscribe
from hardening.agents.router.mould import Casting, Mould
from hardening.agents.router.subscriber import Subscriber
from hardening.core import payload as payloads
from hardening.core import raw as raw_message
from hardening.core.context_header import HEADER
from tests.integration.spooling import app_for
from tests.integration.telling import body_of, charge_of, raws

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server

PAYLOADS = [
    None,
    {"order": 17, "who": "Zoë"},
    'it\'s "x"',
    ["a" * 3000],
    {"id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301"},
]
SUBSCRIBERS = [
    Subscriber(task="shop.charge", queue="q"),
    Subscriber(task="shop.charge", queue='q"ö', args=("e'u", 1), kwargs={"a": [1], "b": "3f2504e0"}, priority=3),
    Subscriber(task="hardening.agent", queue="agent.inventory", agent="inventory", args=("on_order",)),
]


def both(app: Celery, to: Subscriber, payload: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same message from a mould and from Celery."""
    cast = payloads.load(Mould(app, to).message(Casting(app, "order.created", payload)))
    casting = Casting(app, "order.created", payload)
    casting.is_one_by_one = True
    return cast, payloads.load(Mould(app, to).message(casting))


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """But for ids, which fit one another."""
    for message in (one, other):
        headers, properties = message["headers"], message["properties"]
        assert message["hardening"] == raw_message.mark(properties["delivery_tag"])
        assert headers["id"] == properties["correlation_id"]
        if headers["parent_id"] is None:
            assert headers.pop("root_id") == headers["id"]
        del message["hardening"], headers["id"], properties["correlation_id"], properties["delivery_tag"]
    assert one == other


@pytest.mark.parametrize("payload", PAYLOADS, ids=["none", "dict", "quotes", "long", "id"])
@pytest.mark.parametrize("to", SUBSCRIBERS, ids=["task", "signature", "agent"])
def test_a_message_from_a_mould_is_as_celery_makes_it(app: Celery, to: Subscriber, payload: Any) -> None:
    """For any subscriber and payload."""
    cast, made = both(app, to, payload)
    assert body_of(cast)[:2] == [[*to.args, "order.created", payload], to.kwargs]
    assert cast["headers"]["shadow"] == ("inventory.on_order" if to.agent else None)
    assert (cast["headers"]["hardening_signal"], cast["headers"]["ignore_result"]) == ("order.created", True)
    assert (cast["properties"]["priority"], cast["properties"]["delivery_info"]["routing_key"]) == (
        to.priority,
        to.queue,
    )
    assert len(cast["headers"]["argsrepr"]) < 1300
    same(cast, made)


def test_two_messages_have_nothing_but_their_body_in_common(app: Celery) -> None:
    """Not their ids."""
    mould, casting = Mould(app, SUBSCRIBERS[0]), Casting(app, "a", 1)
    one, other = (payloads.load(mould.message(casting)) for _ in range(2))
    assert one["body"] == other["body"]
    assert one["headers"]["id"] != other["headers"]["id"]
    assert one["properties"]["delivery_tag"] != other["properties"]["delivery_tag"]


def test_the_body_is_compressed_where_the_app_says_so(server: EmbeddedRedis, prefix: str) -> None:
    """As of any message."""
    app = app_for(server.broker_url, prefix, task_compression="gzip")
    cast = payloads.load(Mould(app, SUBSCRIBERS[0]).message(Casting(app, "a", 1)))
    assert json.loads(decompress(base64.b64decode(cast["body"]), cast["headers"]["compression"]))[0] == ["a", 1]


def test_what_is_emitted_by_a_task_tells_so(app: Celery, queue: str) -> None:
    """By its ids, and with what travels along; the mould keeps nothing of either."""
    subscribe("#", charge_of(app), durable=True)

    @app.task(name="shop.order", shared=False)
    def order() -> None:
        with error_context("checkout", order=17):
            emit("inside", app=app)

    order.apply().get()
    emit("outside", app=app)
    outside, inside = map(payloads.load, raws(app, queue))
    assert (inside["headers"]["parent_id"], inside["headers"]["root_id"]) != (None, inside["headers"]["id"])
    assert inside["headers"][HEADER]
    assert HEADER not in outside["headers"]
    assert (outside["headers"]["parent_id"], outside["headers"]["root_id"]) == (None, outside["headers"]["id"])


def test_what_travels_is_as_celery_would_have_it(app: Celery) -> None:
    """Also in the first message of a mould."""
    with error_context("checkout", order=17):
        cast, made = both(app, SUBSCRIBERS[0], 1)
    assert HEADER in cast["headers"]
    same(cast, made)


@pytest.fixture
def published() -> Iterator[list[str]]:
    """Whoever looks at each publication."""
    seen: list[str] = []

    def look(headers: dict[str, Any], **_: Any) -> None:
        seen.append(headers["argsrepr"])

    after_task_publish.connect(look)
    yield seen
    after_task_publish.disconnect(look)


def test_who_looks_at_publications_sees_each(app: Celery, queue: str, published: list[str]) -> None:
    """Tracers, above all; and what they put into headers travels."""
    subscribe("#", charge_of(app), durable=True)
    emit("a", 1, app=app)
    emit("a", 2, app=app)
    assert [one for one in published if one.startswith("('a'")] == ["('a', 1)", "('a', 2)"]
    assert [body_of(payloads.load(raw))[0] for raw in raws(app, queue)] == [["a", 2], ["a", 1]]


def test_an_app_that_sends_in_its_own_way_is_asked(server: EmbeddedRedis, prefix: str) -> None:
    """Whoever overrides send_task sees each, too."""
    sent: list[Any] = []

    class Shop(Celery):
        def send_task(self, name: str, *args: Any, **options: Any) -> Any:
            sent.append(name)
            return super().send_task(name, *args, **options)

    app = Shop("shop", broker=server.broker_url, set_as_current=False)
    assert Casting(app, "a", 1).is_one_by_one
    assert not Casting(app_for(server.broker_url, prefix), "a", 1).is_one_by_one
    Mould(app, SUBSCRIBERS[0]).message(Casting(app, "a", 1))
    assert sent == ["shop.charge"] * 2
