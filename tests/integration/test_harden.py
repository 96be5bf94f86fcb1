"""A hardened app at work: what Celery's own calls publish is ours, and stock Celery can read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from hardening import harden
from hardening.core.raw import is_marked, message_id
from hardening.transport import Transport
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis

AWAY = "redis://127.0.0.1:1/0"


def app_for(broker: str, stage: Stage) -> Celery:
    """A hardened app on a stage's queue."""
    app = Celery("app", broker=broker, set_as_current=False)
    app.conf.update(task_default_queue=f"{stage.prefix}.q", hardening_prefix=stage.prefix)
    return harden(app)


def test_what_celery_publishes_is_in_the_ledger(server: EmbeddedRedis, stage: Stage) -> None:
    """By name or by task; with a countdown it is held; nothing of it has a receipt."""
    app = app_for(server.broker_url, stage)

    @app.task(name="t", shared=False)
    def t() -> None:
        pass

    now, also, later = t.delay().id, app.send_task("t").id, t.apply_async(countdown=3600).id
    assert stage.state() == State(queued={"q": [now, also]}, scheduled=[later], rung={"q"})
    assert stage.ledger().counters == {"published": 3}
    assert stage.client.keys(f"{stage.prefix}:delivery:*") == []


def test_a_message_is_marked_with_its_delivery_tag(server: EmbeddedRedis, stage: Stage) -> None:
    """Stock Celery ignores the mark."""
    app_for(server.broker_url, stage).send_task("t", ("x" * 10,))
    (raw,) = stage.client.lrange(stage.list_key(), 0, -1)
    assert is_marked(raw)
    assert message_id(raw) == json.loads(raw)["properties"]["delivery_tag"]


def test_stock_celery_reads_what_a_hardened_app_sends(server: EmbeddedRedis, stage: Stage) -> None:
    """A fleet can be upgraded, or rolled back, one process at a time."""
    hardened, stock = app_for(server.broker_url, stage), Celery("stock", broker=server.broker_url, set_as_current=False)
    task_id = hardened.send_task("t", (1, 2), {"z": 3}, headers={"tenant": "acme"}).id
    with stock.connection_for_read() as connection:
        message = connection.default_channel.basic_get(stage.list_key())
        assert message is not None
        assert (message.headers["id"], message.headers["tenant"]) == (task_id, "acme")
        assert message.decode()[:2] == [[1, 2], {"z": 3}]
        message.ack()
    assert stage.client.llen(stage.list_key()) == 0


def test_a_hardened_app_reads_what_stock_celery_sends(server: EmbeddedRedis, stage: Stage) -> None:
    """And enters it in the ledger."""
    hardened, stock = app_for(server.broker_url, stage), Celery("stock", broker=server.broker_url, set_as_current=False)
    task_id = stock.send_task("t", (1,), queue=stage.list_key()).id
    stage.client.sadd(stage.keys.queues, stage.list_key())
    assert stage.state() == State(queued={"q": [task_id]}, stock={task_id})
    with hardened.connection_for_read() as connection:
        message = connection.default_channel.basic_get(stage.list_key())
        assert message is not None
        assert (message.headers["id"], message.decode()[0]) == (task_id, [1])
        message.ack()
    assert stage.state() == State()
    assert stage.ledger().counters == {"adopted": 1, "acked": 1}


def test_our_transport_stays_after_a_failover(server: EmbeddedRedis, stage: Stage) -> None:
    """The first broker is away: what goes to the second is still in the ledger."""
    app = app_for(f"{AWAY};{server.broker_url}", stage)
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=3, interval_start=0.01, interval_step=0)
        assert type(connection.transport) is Transport
        connection.switch(server.broker_url)
        assert type(connection.transport) is Transport
        producer: Any = app.amqp.Producer(connection.default_channel)
        task_id = app.send_task("t", producer=producer).id
    assert stage.state() == State(queued={"q": [task_id]}, rung={"q"})


@pytest.mark.parametrize("is_hardened_first", [True, False])
def test_the_configuration_may_be_read_before_or_after(
    server: EmbeddedRedis, stage: Stage, *, is_hardened_first: bool
) -> None:
    """Celery reads it when it is first asked for something; hardening is such a question."""
    app = Celery("app", set_as_current=False)
    app.config_from_object(
        {"broker_url": server.broker_url, "hardening_prefix": stage.prefix, "task_default_queue": stage.list_key()}
    )
    if not is_hardened_first:
        assert app.conf.task_default_queue == stage.list_key()
    task_id = harden(app).send_task("t").id
    assert stage.state() == State(queued={"q": [task_id]}, rung={"q"})
