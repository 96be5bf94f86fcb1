"""Handlers are slow, subscribers are killed, and Redis goes away under emitters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hardening import emit, subscribe, subscriptions
from hardening.agents.router import SubscriberGone
from hardening.core.deployment import client_of
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
