"""Each way in which a message goes back is told, once, with its reason, and leaves everything in balance."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from celery import Celery

from hardening.core import raw as raw_message
from hardening.core import telemetry
from hardening.core.deployment import client_of, settings_of
from hardening.core.ledger import read_ledger
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kombu import Connection
    from redis import Redis

    from hardening.core.keys import Keys


@contextmanager
def _consuming(app: Celery, receive: Callable[[Any], object]) -> Iterator[tuple[Connection, Any]]:
    with app.connection_for_read() as connection:
        consumer = app.amqp.TaskConsumer(connection.default_channel, on_message=receive)
        consumer.consume()
        yield connection, consumer


def _drain(connection: Connection, enough: Callable[[], object]) -> None:
    def turn() -> object:
        with suppress(TimeoutError):
            connection.drain_events(timeout=0.5)
        return enough()

    eventually(turn)


def _places(app: Celery) -> tuple[int, int, int, int]:
    """How many messages are queued, scheduled, in flight and acked; the ledger must balance."""
    ledger = read_ledger(client_of(app), settings_of(app).keys)
    assert ledger.is_balanced, ledger
    return ledger.queued, ledger.scheduled, ledger.inflight, ledger.counters.get("acked", 0)


def _released(queue: str, *whys: str) -> list[telemetry.MessageReleased]:
    return [telemetry.MessageReleased(queue=queue, why=why) for why in whys]


def test_a_message_that_its_receiver_gives_back_is_requeued(app: Celery, queue: str) -> None:
    """It comes again."""
    seen: list[Any] = []

    def receive(message: Any) -> None:
        seen.append(message)
        message.requeue() if len(seen) == 1 else message.ack()

    app.send_task("t")
    with telemetry.capture("hardening.message") as events:
        with _consuming(app, receive) as (connection, _):
            _drain(connection, lambda: len(seen) == 2)
        assert events == _released(queue, "requeued")
    assert _places(app) == (0, 0, 0, 1)


def test_what_is_not_settled_when_a_channel_recovers_is_requeued(app: Celery, queue: str) -> None:
    """``basic.recover``."""
    seen: list[Any] = []
    app.send_task("t")
    with telemetry.capture("hardening.message") as events, _consuming(app, seen.append) as (connection, consumer):
        _drain(connection, lambda: len(seen) == 1)
        consumer.cancel()
        consumer.recover(requeue=True)
        assert events == _released(queue, "requeued")
        assert _places(app) == (1, 0, 0, 0)


def test_what_was_taken_from_a_queue_that_is_no_longer_consumed_goes_back(app: Celery, queue: str) -> None:
    """It had not been handed on yet; what had been stays, until its process stops."""
    seen: list[Any] = []

    def receive(message: Any) -> None:
        seen.append(message)
        threading.Event().wait(0.05)  # longer than deliveries may keep the loop

    for _ in range(3):
        app.send_task("t")
    with telemetry.capture("hardening.message") as events:
        with _consuming(app, receive) as (connection, consumer):
            _drain(connection, lambda: len(seen) == 1)
            consumer.cancel()
            assert events == _released(queue, "cancelled", "cancelled")
            assert _places(app) == (2, 0, 1, 0)
        assert events == _released(queue, "cancelled", "cancelled", "stopping")
    assert _places(app) == (3, 0, 0, 0)


def test_a_stock_producers_message_that_is_not_due_goes_to_the_schedule(app: Celery, queue: str) -> None:
    """Stock Celery puts it into the queue at once."""
    with Celery("stock", broker=app.conf.broker_url, set_as_current=False) as stock:
        stock.send_task("t", countdown=3600, queue=queue)
    with telemetry.capture("hardening.message") as events, _consuming(app, lambda _: None) as (connection, _):
        _drain(connection, lambda: events)
        assert events == _released(queue, "not_due")
        assert _places(app) == (0, 1, 0, 0)


def test_one_of_two_suspects_goes_back_until_the_other_has_run(
    app: Celery, queue: str, client: Redis, keys: Keys
) -> None:
    """Both are one crash from burial, and nobody could tell which of them did it."""
    seen: list[Any] = []
    for _ in range(2):
        app.send_task("t")
    waiting: Any = client.lrange(queue, 0, -1)
    for raw in waiting:
        client.hset(keys.crashes, raw_message.message_id(raw), "2")
    with telemetry.capture("hardening.message") as events, _consuming(app, seen.append) as (connection, _):
        _drain(connection, lambda: events)
        assert len(seen) == 1
        assert events == _released(queue, "suspect")
        assert _places(app) == (0, 1, 1, 0)
