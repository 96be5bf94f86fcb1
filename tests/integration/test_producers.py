"""Publishing declares a queue once for each connection, and no copy of it is made after that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kombu
import pytest
from kombu import Queue

from hardening.transport.producers import Producer
from tests.conftest import SERVERS

if TYPE_CHECKING:
    from celery import Celery

pytestmark = pytest.mark.skipif(not SERVERS, reason="no Redis server on this machine")


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the queues that were bound to a channel since the test began, each time."""
    names: list[str] = []
    bind = Queue.bind

    def counted(self: Any, channel: Any) -> Any:
        names.append(self.name)
        return bind(self, channel)

    monkeypatch.setattr(Queue, "bind", counted)
    return names


def test_a_queue_is_bound_for_the_first_message_only(app: Celery, queue: str, bound: list[str]) -> None:
    """It was declared then."""
    for _ in range(5):
        app.send_task("any")
    assert set(bound) == {queue}
    first = len(bound)
    for _ in range(20):
        app.send_task("any")
    assert len(bound) == first


def test_another_connection_declares_for_itself(app: Celery, queue: str, bound: list[str]) -> None:
    """The one before may have been to another Redis."""
    for _ in range(2):
        with app.connection_for_write() as connection:
            producer = app.amqp.Producer(connection)
            assert isinstance(producer, Producer)
            assert producer.maybe_declare(app.amqp.queues[queue])
            assert not producer.maybe_declare(app.amqp.queues[queue])
    assert bound == [queue, queue]


def test_what_may_vanish_is_declared_each_time(app: Celery, bound: list[str]) -> None:
    """The entity says which queues those are."""
    with app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection)
        for _ in range(3):
            producer.maybe_declare(Queue("passing", auto_delete=True))
    assert bound == ["passing"] * 3


def test_the_pool_has_our_producers(app: Celery) -> None:
    """Those that delay() takes."""
    with app.producer_pool.acquire(block=True, timeout=5) as producer:
        assert isinstance(producer, Producer)


def test_kombus_own_producer_still_copies_each_time(app: Celery, queue: str, bound: list[str]) -> None:
    """When this fails, kombu looks first itself, and ours is not needed any more."""
    with app.connection_for_write() as connection:
        producer = kombu.Producer(connection)
        for _ in range(3):
            producer.maybe_declare(app.amqp.queues[queue], retry=True)
    assert bound == [queue] * 3
