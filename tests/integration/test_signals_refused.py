"""subscribe and emit: what makes no sense, and what cannot be, is refused in one line."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import group
from kombu.exceptions import EncodeError

from hardening import aemit, emit, subscribe, subscriptions
from hardening.agents.router import SubscribeFailed, signal_stats
from hardening.core import payload as payloads
from hardening.core.deployment import client_of, settings_of
from hardening.delivery import agent, queue
from tests.integration.spooling import AWAY, app_for
from tests.integration.telling import charge_of, raws

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server


@pytest.fixture
def charge(app: Celery) -> Any:
    """A task."""
    return charge_of(app)


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        (("order.*", "t"), {}, "needs an end: tied_to="),
        (("order.*", "t"), {"durable": True, "ttl": 5}, "tied_to and ttl name an end"),
        (("order.*", agent("a")), {"durable": True}, "ends with it"),
        (("order.*", agent("a")), {"queue": "q"}, "an agent has its mailbox"),
        (("order.*", "t"), {"handler": "h", "durable": True}, "only agents have handlers"),
        (("order.*", "t"), {"ttl": 0}, "ttl is 0, expected"),
        (("order.*", "t"), {"ttl": timedelta(days=400)}, "ttl is .* expected"),
        (("order.*", "t"), {"ttl": True}, "ttl is True, expected"),
        (("order.**", "t"), {"durable": True}, "pattern is"),
        (("order.*", queue("q")), {}, "expected an agent or a task: a queue runs nothing"),
        (("order.*", 7), {}, "expected an agent, a task"),
        (("order.*", "t"), {"tied_to": queue("q")}, "expected worker"),
        (("order.*", "t"), {"tied_to": "mail@host"}, "expected worker"),
    ],
)
def test_a_subscription_that_makes_no_sense_is_refused(app: Celery, arguments: Any, options: Any, told: str) -> None:
    """Before Redis is asked."""
    with pytest.raises((ValueError, TypeError), match=told):
        subscribe(*arguments, app=app, **options)
    assert subscriptions(app) == []


def test_a_signature_that_cannot_be_told_is_refused(app: Celery, charge: Any) -> None:
    """One that takes nothing, or is several, or has more to say than a subscription keeps."""
    for signature, told in (
        (charge.si(1), "immutable"),
        (charge.s().set(countdown=5), "countdown cannot be a subscriber"),
        (group(charge.s(), charge.s()), "expected one task"),
    ):
        with pytest.raises(ValueError, match=told):
            subscribe("#", signature, durable=True, app=app)


def test_where_an_exchange_leads_only_redis_knows(app: Celery, charge: Any, prefix: str) -> None:
    """So the queue is to be named."""
    app.conf.task_routes = {"shop.charge": {"exchange": "topics", "routing_key": "x"}}
    with pytest.raises(ValueError, match="name its queue with queue="):
        subscribe("#", charge, durable=True)
    subscribe("#", charge, queue=f"{prefix}.x", durable=True)
    assert emit("a", app=app).routed == 1
    (raw,) = raws(app, f"{prefix}.x")
    assert payloads.load(raw)["properties"]["delivery_info"] == {"exchange": "", "routing_key": f"{prefix}.x"}


@pytest.mark.parametrize("name", ["", "a.*", "a b"])
def test_a_signal_that_is_none_is_refused(app: Celery, name: str) -> None:
    """From either side."""
    with pytest.raises(ValueError, match="signal is"):
        emit(name, app=app)
    with pytest.raises(ValueError, match="signal is"):
        asyncio.run(aemit(name, app=app))


@pytest.mark.parametrize("options", [{"on_error": "pray"}, {"timeout": 0}, {"timeout": float("inf")}, {"retries": -1}])
def test_terms_that_make_no_sense_are_refused(app: Celery, options: dict[str, Any]) -> None:
    """As for any send."""
    with pytest.raises(ValueError, match=f"{next(iter(options))} is .*, expected"):
        emit("a", app=app, **options)


def test_a_payload_that_is_not_json_is_refused(app: Celery) -> None:
    """And nothing is counted."""
    with pytest.raises(EncodeError, match=r"payload of a\.b is not JSON"):
        emit("a.b", object(), app=app)
    assert signal_stats(app).emitted == 0


def test_what_nobody_of_ours_wrote_is_passed_over(app: Celery, charge: Any) -> None:
    """Whatever somebody put among the subscriptions routes nothing and breaks nothing."""
    subscribe("#", charge, durable=True)
    keys, client = settings_of(app).keys, client_of(app)
    rubbish = (
        b"",
        b"\x1f",
        b"\x1f{}",
        b"\x1f[1]",
        b"\xff\x1f{",
        b'\x1f{"pattern":"a..b","to":{"task":"t","queue":"q"}}',
    )
    for number, record in enumerate(rubbish):
        client.hset(keys.signal_subscriptions, f"x{number}", record)
    assert emit("a", app=app).routed == 1
    assert len(subscriptions(app)) == 1


def test_redis_must_be_there_to_subscribe(prefix: str) -> None:
    """What it answered is told in one line."""
    with pytest.raises(SubscribeFailed, match=r"^there is no subscription to #: Redis did not take it: [^\n]+$"):
        subscribe("#", "t", queue="q", durable=True, app=app_for(AWAY, prefix, hardening_socket_timeout_s=0.5))


def test_a_full_redis_is_told(own_server: EmbeddedRedis, prefix: str) -> None:
    """With what to do about it."""
    shop = app_for(own_server.broker_url, prefix)
    client_of(shop).config_set("maxmemory", 1)
    with pytest.raises(SubscribeFailed, match="free memory or raise maxmemory"):
        subscribe("#", "t", queue="q", durable=True, app=shop)
