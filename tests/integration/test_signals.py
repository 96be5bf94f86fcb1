"""subscribe and emit: who is told of what, from which moment on, and with what message."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hardening import aemit, emit, subscribe, subscriptions, unsubscribe
from hardening.agents.router import SubscriberGone, routes, signal_stats
from hardening.agents.router import emission as emission_module
from hardening.agents.router.stats import bucket_of
from hardening.core import telemetry
from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts import calls
from hardening.delivery import agent, worker
from hardening.delivery.mailbox_events import MailboxFilled
from tests.integration.coroutines import arun
from tests.integration.spooling import app_for
from tests.integration.telling import balance, charge_of, host, raws, waiting

if TYPE_CHECKING:
    from celery import Celery


pytestmark = pytest.mark.one_server


@pytest.fixture
def charge(app: Celery) -> Any:
    """A task."""
    return charge_of(app)


@pytest.fixture
def inventory(app: Celery, prefix: str) -> Any:
    """An agent that is hosted."""
    host(app, f"{prefix}.inventory")
    return agent(f"{prefix}.inventory")


# -- who is told


def test_subscribers_of_a_pattern_are_told(app: Celery, charge: Any, inventory: Any, queue: str) -> None:
    """A task gets the name and the payload; an agent's handler, too."""
    subscribe("order.*", charge, durable=True)
    subscribe("order.#", inventory, handler="on_order", app=app)
    subscribe("stock.low", inventory, app=app)
    told = emit("order.created", {"order": 17}, app=app)
    assert (told.signal, told.routed, told.dropped, told.spooled, told.failed) == ("order.created", 2, (), None, None)
    assert emit("order", app=app).routed == 1
    assert emit("stock.low", 3, app=app).routed == 1
    assert emit("stock.high", app=app).routed == 0
    assert waiting(app, queue) == [("shop.charge", ["order.created", {"order": 17}])]
    assert waiting(app, inventory.queue) == [
        ("hardening.agent", ["on_order", "order.created", {"order": 17}]),
        ("hardening.agent", ["on_order", "order", None]),
        ("hardening.agent", ["on_signal", "stock.low", 3]),
    ]
    assert balance(app) == {"published": 4}


def test_each_subscriber_is_told_once(app: Celery, charge: Any, queue: str) -> None:
    """However many patterns match; another queue, handler or argument is another subscriber."""
    for pattern in ("order.created", "order.*", "#"):
        subscribe(pattern, charge, durable=True)
    subscribe("order.*", charge, ttl=60)
    assert emit("order.created", app=app).routed == 1
    subscribe("#", charge.s("eu").set(queue=f"{queue}.eu", priority=3), durable=True)
    subscribe("#", "shop.charge", queue=f"{queue}.eu", durable=True, app=app)
    assert emit("order.created", app=app).routed == 3
    assert waiting(app, f"{queue}.eu\x06\x163") == [("shop.charge", ["eu", "order.created", None])]
    assert waiting(app, f"{queue}.eu") == [("shop.charge", ["order.created", None])]


def test_a_task_waits_where_the_routes_of_its_subscriber_lead(app: Celery, charge: Any, queue: str) -> None:
    """The emitter need not know them, nor the task."""
    app.conf.task_routes = {"shop.charge": {"queue": f"{queue}.mail"}}
    made = subscribe("order.*", charge, durable=True)
    assert made.subscriber.queue == f"{queue}.mail"
    other = app_for(str(app.conf.broker_url), settings_of(app).prefix)
    assert emit("order.created", app=other).routed == 1
    assert waiting(app, f"{queue}.mail") == [("shop.charge", ["order.created", None])]
    balance(other)


def test_a_subscription_counts_from_the_moment_that_subscribe_returned(app: Celery, charge: Any, queue: str) -> None:
    """For an emitter that knew all others; and it counts no more once it was ended."""
    other = app_for(str(app.conf.broker_url), settings_of(app).prefix)
    assert emit("a", app=other).routed == 0
    for number in range(20):
        made = subscribe(f"a.{number}", charge, queue=f"{queue}.{number}", durable=True)
        assert emit(f"a.{number}", app=other).routed == 1
        assert unsubscribe(made, app=app)
        assert not unsubscribe(made.id, app=app)
        assert emit(f"a.{number}", app=other).routed == 0
    assert subscriptions(app) == []


def test_subscribing_again_renews(app: Celery, charge: Any) -> None:
    """It is the same subscription, of which others need not hear; how long it lives may be said anew."""
    with telemetry.capture("hardening.signal") as events:
        first = subscribe("order.*", charge, ttl=timedelta(seconds=60))
        again = subscribe("order.*", charge, ttl=60)
        endless = subscribe("order.*", charge, durable=True)
        assert not unsubscribe("no such", app=app)
        unsubscribe(endless, app=app)
    assert first == again
    assert (first.ttl_s, first.left_s, endless.id, endless.ttl_s) == (60.0, 60.0, first.id, None)
    assert [event.name.rpartition(".")[2] for event in events] == ["subscribed", "subscribed", "unsubscribed"]


def test_a_subscription_ends_with_its_worker(app: Celery, charge: Any) -> None:
    """Named by its node; where there are two of them, each has its own, and the task is told once."""
    keys, client = settings_of(app).keys, client_of(app)
    for consumer, node in (("w", "mail@host"), ("v", "web@host")):
        calls.renew(keys, consumer, 600_000, join=True, about="{}", node=node).run(client)
    made = [subscribe("order.*", charge, tied_to=worker(name)) for name in ("mail@host", "web@host")]
    assert [one.tied_to for one in made] == ["worker:w", "worker:v"]
    assert emit("order.created", app=app).routed == 1
    calls.leave(keys, "w").run(client)
    assert emit("order.created", app=app).routed == 1
    calls.leave(keys, "v").run(client)
    assert [(one.state, one.why) for one in subscriptions(app)] == [("over", "worker_gone")] * 2
    with telemetry.capture("hardening.signal") as events:
        assert emit("order.created", app=app).routed == 0
    assert [(event.name, getattr(event, "reason", "")) for event in events] == [
        ("hardening.signal.unsubscribed", "worker_gone"),
        ("hardening.signal.emitted", ""),
    ]
    assert subscriptions(app) == []


def test_a_subscription_of_an_agent_ends_with_it(app: Celery, charge: Any, inventory: Any) -> None:
    """So does one of a task that is tied to an agent."""
    subscribe("#", inventory, app=app)
    subscribe("#", charge, tied_to=inventory)
    assert emit("a", app=app).routed == 2
    host(app, inventory.name, halt="stopped")
    assert emit("a", app=app).routed == 0
    assert subscriptions(app) == []
    with pytest.raises(SubscriberGone, match="hosted, or it was stopped") as refused:
        subscribe("#", inventory, app=app)
    assert (refused.value.reason, refused.value.pattern) == ("agent_gone", "#")
    assert refused.value.tied_to == f"agent {inventory.name}"


def test_a_full_mailbox_holds_up_nobody(app: Celery, charge: Any, prefix: str) -> None:
    """What it drops is a dead letter, told and counted; the others get theirs."""
    for name, when_full in (("slow", "block"), ("sleepy", "drop_oldest")):
        host(app, f"{prefix}.{name}", bound=1, when_full=when_full)
        subscribe("#", agent(f"{prefix}.{name}"), app=app)
    subscribe("#", charge, durable=True)
    with telemetry.capture("hardening.mailbox") as filled:
        assert emit("a", 1, app=app).routed == 3
    wanted = {(f"{prefix}.slow", 1, 1), (f"{prefix}.sleepy", 1, 1)}
    assert {(one.agent, one.waiting, one.bound) for one in filled if isinstance(one, MailboxFilled)} == wanted
    with telemetry.capture("hardening.signal") as events:
        told = emit("a", 2, app=app)
    drops = {drop.subscriber.agent.rpartition(".")[2]: drop.reason for drop in told.dropped}
    assert (told.routed, drops) == (2, {"slow": "mailbox_full", "sleepy": "mailbox_full_oldest"})
    assert Counter(event.name for event in events) == {"hardening.signal.emitted": 1, "hardening.signal.dropped": 2}
    assert [waiting(app, f"agent.{prefix}.{name}")[0][1][2] for name in ("slow", "sleepy")] == [1, 2]
    assert balance(app) == {"published": 6, "dead": 2, "mailbox_drops": 2}
    stats = signal_stats(app)
    assert (stats.routed, stats.dropped) == (5, {"mailbox_full": 1, "mailbox_full_oldest": 1})


def test_very_many_subscribers_are_told_in_several_calls(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, also when others come meanwhile; it is one signal."""
    monkeypatch.setattr(emission_module, "_MOST", 7)
    prefix = settings_of(app).prefix
    for number in range(20):
        subscribe("#", "t", queue=f"{prefix}.{number:02}", durable=True, app=app)
    emitting = emission_module.Emitting(app, "a", 1)
    numbers: list[Any] = []
    while (call := emitting.call()) is not None:
        if len(numbers) == 3:
            subscribe("#", "t", queue=f"{prefix}.late", durable=True, app=app)
        numbers.append(call.args[4] if call.script.name == "emit" else call.script.name)
        emitting.hear(call.run(client_of(app)))
    assert numbers == [1, "read_subscriptions", 1, 2, "read_subscriptions", 2, 3]
    assert emitting.done().routed == 21
    assert all(len(raws(app, f"{prefix}.{number:02}")) == 1 for number in range(20))
    stats = signal_stats(app)
    assert (stats.emitted, stats.routed, stats.unrouted) == (1, 21, 0)


def test_large_messages_are_not_all_in_one_call(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis does nothing else meanwhile."""
    monkeypatch.setattr(emission_module, "_MOST_BYTES", 1)
    for number in range(4):
        subscribe("#", "t", queue=f"{settings_of(app).prefix}.{number}", durable=True, app=app)
    with telemetry.capture("hardening.signal.emitted") as events:
        assert emit("a", app=app).routed == 4
    assert len(events) == 1
    assert routes.routes_of(app).lend().count == 4


def test_two_emitters_at_once_lose_and_double_nothing(app: Celery, charge: Any, queue: str) -> None:
    """While subscriptions come and go."""
    subscribe("order.*", charge, durable=True)
    others = [app, app_for(str(app.conf.broker_url), settings_of(app).prefix)]
    told: list[int] = []

    def send(at: int) -> None:
        told.extend(emit(f"order.{at}", number, app=others[at % 2]).routed for number in range(100))

    threads = [threading.Thread(target=send, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        subscribe(f"other.{number}", charge, durable=True)
    for thread in threads:
        thread.join(60)
    assert told == [1] * 400
    assert Counter(args[0] for _, args in waiting(app, queue)) == {f"order.{at}": 100 for at in range(4)}
    for at in range(4):
        assert [args[1] for _, args in waiting(app, queue) if args[0] == f"order.{at}"] == list(range(100))
    assert balance(app) == {"published": 400}
    assert len(routes.routes_of(app)._records) <= 51
    assert emit("other.49", app=others[1]).routed == 1


def test_one_subscription_that_cannot_end_is_enough(app: Celery, charge: Any) -> None:
    """Whatever becomes of the others."""
    subscribe("order.*", charge, ttl=60)
    subscribe("#", charge, durable=True)
    client_of(app).zadd(settings_of(app).keys.signal_expiring, {one.id: 1 for one in subscriptions(app) if one.ttl_s})
    assert emit("order.created", app=app).routed == 1


def test_changes_that_follow_on_another_version_are_left_alone(app: Celery, charge: Any) -> None:
    """Another thread was quicker: what it took in is newer."""
    subscribe("order.*", charge, durable=True)
    emit("order.created", app=app)
    known = routes.routes_of(app)
    version, records = known.version, dict(known._records)
    known.hear([b"1-1", b"1-2", *(part for name in records for part in (name.encode(), b""))])
    assert (known.version, known._records) == (version, records)


def test_names_are_not_remembered_for_ever(app: Celery, charge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be as many as there are orders."""
    monkeypatch.setattr(routes, "_MOST_NAMES", 2)
    subscribe("order.*", charge, durable=True)
    assert [emit(f"order.{number}", app=app).routed for number in range(5)] == [1] * 5
    assert len(routes.routes_of(app)._by_name) <= 2


# -- from a coroutine


def test_a_coroutine_emits_likewise(app: Celery, charge: Any, queue: str) -> None:
    """Hundreds at once, also while subscriptions change."""
    subscribe("order.*", charge, durable=True)

    async def all_of_them() -> list[Any]:
        first = await asyncio.gather(*(aemit("order.created", number, app=app) for number in range(100)))
        await asyncio.to_thread(subscribe, "#", charge, queue=f"{queue}.x", durable=True)
        return [*first, *await asyncio.gather(*(aemit("order.created", number, app=app) for number in range(100)))]

    told = arun(app, all_of_them())
    assert Counter(one.routed for one in told) == {1: 100, 2: 100}
    assert Counter(args[1] for _, args in waiting(app, queue)) == dict.fromkeys(range(100), 2)
    assert balance(app) == {"published": 300}


# -- what is counted


def test_what_became_of_signals_is_counted(app: Celery, charge: Any) -> None:
    """Latency of all but the last of each emitter."""
    assert signal_stats(app).p50_s is None
    subscribe("order.*", charge, durable=True)
    for number in range(5):
        emit("order.created", number, app=app)
    emit("stock.low", app=app)
    stats = signal_stats(app)
    assert (stats.emitted, stats.routed, stats.unrouted, stats.subscriptions) == (6, 5, 1, 1)
    assert (stats.dropped, stats.ended) == ({}, {})
    assert stats.mean_s is not None
    assert stats.p50_s is not None
    assert 0 < stats.mean_s < 5
    assert 0 < stats.p50_s <= (stats.p99_s or 10)
    stored: Any = client_of(app).hgetall(settings_of(app).keys.signal_stats)
    assert sum(int(count) for name, count in stored.items() if name.startswith(b"us<")) == 5


def test_latency_is_told_by_bounds(app: Celery) -> None:
    """Half of all took at most so long; what is longer than any bound has none."""
    assert [bucket_of(seconds) for seconds in (0.0, 0.0001, 0.00011, 5.0, 5.1)] == [
        "100",
        "100",
        "200",
        "5000000",
        "inf",
    ]
    key = settings_of(app).keys.signal_stats
    client_of(app).hset(key, mapping={"us<100": 98, "us<5000": 1, "us<inf": 1, "us": 100, "dropped:expired": 2})
    stats = signal_stats(app)
    assert (stats.p50_s, stats.p99_s, stats.mean_s) == (0.0001, 0.005, 1e-6)
    assert (stats.dropped, stats.ended) == ({}, {"expired": 2})
    client_of(app).hset(key, "us<inf", 3)
    assert signal_stats(app).p99_s is None
