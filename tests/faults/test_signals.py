"""Handlers are slow, subscribers are killed, and Redis goes away under emitters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from beat_schedules import Schedules, register_periodic
from beat_schedules.errors import ScheduleNotFound
from beat_schedules.leader import Leader
from hardening import agent as hosted_agent
from hardening import emit, subscribe, subscriptions
from hardening.agents.router import SubscriberGone
from hardening.core.deployment import client_of, settings_of
from hardening.delivery import agent, worker
from tests.closing import close
from tests.eventually import eventually
from tests.integration.telling import raws

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.embedded import EmbeddedRedis
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server

_MODULE = "tests.faults.signal_tasks"
_TOLD = f"{_MODULE}.told"


def told(rig: Rig, app: Celery, **options: Any) -> Any:
    """The task of the workers has subscribed."""
    return subscribe("order.*", _TOLD, queue=rig.queue, app=app, **options)


def test_slow_handlers_hold_up_no_emitter_and_the_dead_get_nothing(rig: Rig) -> None:
    """All is emitted while not one handler ends, and what a mailbox cannot take is a dead letter; one is killed."""
    app, slow = rig.producer(), agent(f"{rig.prefix}.slow")
    names = [f"{rig.prefix}-{number}@test" for number in range(2)]
    with pytest.raises(SubscriberGone, match="celery status"):
        told(rig, app, tied_to=worker(names[0]))
    workers = [rig.start("threads", 2, tasks=_MODULE, faults_lease_s="1") for _ in names]
    client_of(app).hset(
        f"{rig.prefix}:mailbox:{slow.queue}",
        mapping={"bound": 50, "when_full": "block"},
    )
    subscribe("order.created", slow, app=app)
    for one in workers:
        rig.ready(one)
    eventually(lambda: told(rig, app, tied_to=worker(names[0])))
    emissions = [emit("order.created", number, app=app) for number in range(200)]
    assert rig.done() == 0
    assert [len(one.dropped) for one in emissions] == [0] * 50 + [1] * 150
    assert [one.routed for one in emissions] == [2] * 50 + [1] * 150
    rig.ledger.set(f"{rig.prefix}:gate", 1)
    rig.await_done([f"order.created {number}" for number in range(200)])
    assert rig.duplicates() == 0
    eventually(lambda: rig.read().inflight == 0)
    ledger = rig.read()
    assert ledger.is_balanced, ledger
    assert (ledger.counters["published"], ledger.counters["acked"], ledger.counters["dead"]) == (400, 200, 150)
    assert ledger.queued == len(raws(app, slow.queue)) == 50
    assert emit("order.paid", app=app).routed == 1
    rig.kill(workers[0])
    eventually(lambda: emit("order.paid", app=app).routed == 0, 30)
    assert [one.pattern for one in subscriptions(app)] == ["order.created"]
    close(app)


def test_what_is_emitted_while_redis_is_away_gets_through(own_rig: tuple[Rig, EmbeddedRedis]) -> None:
    """Once: it is spooled here, flushed when Redis is back, and emitted by a worker."""
    rig, broker = own_rig
    rig.ledger.set(f"{rig.prefix}:gate", 1)
    app = rig.producer()
    told(rig, app, durable=True)
    rig.ready(rig.start("threads", 2, tasks=_MODULE))
    assert emit("order.0", app=app).routed == 1
    broker.kill()
    away = [emit(f"order.{number}", app=app, retries=0) for number in range(1, 9)]
    assert all(one.spooled for one in away)
    broker.restart()
    rig.await_done([f"order.{number} None" for number in range(9)])
    assert rig.duplicates() == 0
    assert rig.settled(20).counters["acked"] == 9 + len(away)
    close(app)


def test_an_agent_that_is_hosted_is_told_and_ticks_until_it_is_stopped(rig: Rig) -> None:
    """By a worker with a pool; each signal and each slot is applied to its state once."""
    app, name = rig.producer(), f"listener.{rig.prefix}"
    ref, leader = hosted_agent(name, app=app), Leader(app)
    rig.ready(rig.start("prefork", 1, tasks=_MODULE, queues=[ref.queue]))
    subscribe("order.*", ref, app=app)
    entry = register_periodic(ref, "tick", 0.5, ("tick", 7))
    again = subscribe("order.*", agent(name), app=app)
    assert [one.id for one in subscriptions(app)] == [again.id]
    assert emit("order.created", {"order": 17}, app=app).routed == 1
    client: Any = client_of(app)

    def state() -> Any:
        leader.run_once()
        return json.loads(client.hget(settings_of(app).keys.agent(name), "state") or "{}")

    eventually(lambda: state().get("heard") and len(state().get("ticks", ())) >= 2, 20)
    assert ref.stop()
    assert emit("order.created", {"order": 18}, app=app).routed == 0
    assert subscriptions(app) == []
    eventually(lambda: (leader.run_once(), list(Schedules(app)))[1] == [], 20)
    eventually(lambda: rig.read().inflight == 0)
    found, ledger = state(), rig.read()
    assert found["heard"] == [["order.created", {"order": 17}]]
    assert set(found["ticks"]) == {7}
    assert ledger.is_balanced, ledger
    assert 1 + len(found["ticks"]) == ledger.counters["acked"]
    assert ledger.counters["published"] == ledger.counters["acked"] + ledger.queued
    with pytest.raises(ScheduleNotFound):
        Schedules(app).history(entry.name)
    leader.resign()
    close(app)
