"""What Redis is told of the queues that a consumer takes from."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from kombu import Queue
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.core.scripts import Scope
from hardening.core.settings import Settings
from hardening.transport.book import Book
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery
    from kombu import Connection
    from redis import Redis

    from hardening.core.keys import Keys


@pytest.fixture
def book(client: Redis, keys: Keys) -> Book:
    """A book whose lease nobody renews."""
    book = Book(client, Scope(keys, 60_000, "test"), Settings(prefix=keys.prefix, lease_ttl_s=60.0))
    book.lease.renew()
    return book


def said(client: Any, keys: Keys) -> dict[str, set[str]]:
    """All that consumers have said, by consumer."""
    head = f"{keys.prefix}:consuming:"
    found = client.scan_iter(f"{head}*", count=10_000)
    return {key.decode().removeprefix(head): {name.decode() for name in client.smembers(key)} for key in found}


def calls(client: Any) -> int:
    """How many scripts this Redis has run."""
    stats = client.info("commandstats")
    return sum(stats[name]["calls"] for name in ("cmdstat_eval", "cmdstat_evalsha") if name in stats)


@contextmanager
def consuming(app: Celery, *names: str) -> Iterator[tuple[Connection, Any]]:
    """A consumer of queues, without an event loop."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        consumer = connection.Consumer([Queue(name) for name in names], channel=channel, on_message=lambda _: None)
        consumer.consume()
        yield connection, consumer


def turn(connection: Connection) -> None:
    """One turn of what would be the loop."""
    with suppress(TimeoutError):
        connection.drain_events(timeout=0.01)


def test_it_is_told_what_is_consumed_and_what_is_not_any_more(
    app: Celery, client: Redis, keys: Keys, queue: str
) -> None:
    """Before the loop waits again; and nothing of it stays when the consumer goes."""
    left, right = f"{queue}.left", f"{queue}.right"
    with consuming(app, left, right) as (connection, consumer):
        turn(connection)
        (name,) = said(client, keys)
        assert said(client, keys) == {name: {left, right}}
        assert client.zscore(keys.leases, name) is not None
        consumer.cancel_by_queue(right)
        turn(connection)
        assert said(client, keys) == {name: {left}}
        consumer.add_queue(Queue(right))
        consumer.consume()
        turn(connection)
        assert said(client, keys) == {name: {left, right}}
        consumer.cancel()
        assert said(client, keys) == {}  # at once: a worker that stops has no other turn
    assert client.zcard(keys.leases) == 0


def test_what_is_told_is_told_once(book: Book, client: Redis, keys: Keys) -> None:
    """It costs nothing while nothing changes; and a consumer of no queue says nothing at all."""
    book.consuming.tell()
    assert said(client, keys) == {}
    book.consuming.set(["a", "b"])
    book.consuming.tell()
    before = calls(client)
    assert book.consuming.is_told
    book.consuming.tell()
    book.consuming.run_once()
    assert calls(client) == before
    assert said(client, keys) == {book.lease.consumer: {"a", "b"}}


def test_it_is_told_again_under_a_new_name(book: Book, client: Redis, keys: Keys) -> None:
    """By the lease's thread, where the loop is busy; the old name's went with its lease."""
    book.consuming.set(["a"])
    book.consuming.tell()
    old = book.lease.consumer
    client.zrem(keys.leases, old)
    client.delete(keys.consuming(old))
    book.consuming.set(["a", "b"])
    book.consuming.tell()  # nobody would clear that away
    assert said(client, keys) == {}
    assert not book.consuming.is_told
    book.lease.renew()
    book.consuming.run_once()
    assert book.lease.consumer != old
    assert said(client, keys) == {book.lease.consumer: {"a", "b"}}


def test_a_redis_that_has_forgotten_is_told_again(client: Redis, keys: Keys) -> None:
    """Once a lease: after a failover it may have the lease and not the rest."""
    book = Book(client, Scope(keys, 60_000, "test"), Settings(prefix=keys.prefix, lease_ttl_s=1.0))
    book.lease.renew()
    book.consuming.set(["a"])
    book.consuming.tell()
    client.delete(keys.consuming(book.lease.consumer))

    def told() -> bool:
        book.consuming.run_once()
        return bool(said(client, keys))

    assert not told()
    eventually(told, 5)


def test_a_redis_that_is_away_is_told_later(
    book: Book, client: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not confirmed is not taken for told."""
    book.consuming.set(["a"])

    def away(*_: Any) -> None:
        raise RedisConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr("hardening.core.scripts.script.Call.run", away)
        with pytest.raises(RedisConnectionError):
            book.consuming.tell()
    assert not book.consuming.is_told
    book.consuming.run_once()
    assert said(client, keys) == {book.lease.consumer: {"a"}}


def test_a_loop_whose_last_queue_goes_while_redis_is_away_goes_on(
    app: Celery, client: Redis, keys: Keys, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease's thread tells it, or the lease runs out."""
    with consuming(app, queue) as (connection, consumer):
        turn(connection)
        assert len(said(client, keys)) == 1
        book: Any = connection.default_channel.book
        with monkeypatch.context() as patch:
            patch.setattr(book.consuming, "tell", lambda: (_ for _ in ()).throw(RedisConnectionError("gone")))
            consumer.cancel()
        assert not book.consuming.is_told
        eventually(lambda: said(client, keys) == {})
