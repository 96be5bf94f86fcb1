"""What a consumer holds, when its lease runs out or its name is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening.core import raw as raw_message
from hardening.core import telemetry
from hardening.core.scripts import Death, Scope, Taken
from hardening.core.settings import Settings
from hardening.transport.book import Book
from tests.eventually import eventually

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.keys import Keys
    from hardening.transport.held import Held


@pytest.fixture
def book(client: Redis, keys: Keys) -> Book:
    """A book whose lease of a second nobody renews."""
    settings = Settings(prefix=keys.prefix, lease_ttl_s=1.0)
    book = Book(client, Scope(keys, 60_000, "test"), settings)
    book.lease.renew()
    return book


def _take(book: Book, client: Redis, keys: Keys, queue: str) -> list[Held]:
    raw = b'{"hardening": "%s", "body": ""}' % raw_message.mark(raw_message.new_id()).encode()
    Scope(keys, 60_000, "").publish(queue, queue, raw).run(client)
    call, consumer = book.take_call([queue], 1)
    return book.admit(Taken.parse(call.run(client), [queue]), consumer)


def test_nothing_is_begun_once_the_lease_has_run_out(book: Book, client: Redis, keys: Keys, queue: str) -> None:
    """Others may have it already; what was refused goes back."""
    (held,) = _take(book, client, keys, queue)
    eventually(lambda: not book.lease.is_held(), 3)
    assert book.begin([held]) == [False]
    assert (book.size, book.waiting) == (0, 0)
    assert client.hgetall(keys.started(held.consumer)) == {}
    with telemetry.capture("hardening.message") as events:
        book.close()
    assert events == [telemetry.MessageReleased(queue=queue, why="lapsed")]
    assert client.lrange(queue, 0, -1) == [held.raw]
    assert not client.exists(keys.inflight(held.consumer))


def test_a_message_is_begun_and_marked_while_the_lease_holds(book: Book, client: Redis, keys: Keys, queue: str) -> None:
    """The mark is in Redis before the answer is yes."""
    (held,) = _take(book, client, keys, queue)
    assert book.begin([held]) == [True]
    assert list(client.hgetall(keys.started(held.consumer))) == [str(held.seq).encode()]
    book.ack(held)
    assert client.hgetall(keys.counters)[b"acked"] == b"1"
    book.close()


def test_what_was_taken_under_a_lost_name_is_not_admitted(book: Book, client: Redis, keys: Keys, queue: str) -> None:
    """The reply was read after another name had been taken: the messages are elsewhere by now."""
    call, consumer = book.take_call([queue], 1)
    client.zrem(keys.leases, consumer)
    assert not book.lease.renew()
    raw = b"{}"
    assert book.admit(Taken.parse([1, 0, 1, 7, 0, raw], [queue]), consumer) == []
    assert book.size == 0
    assert call.keys[0] == keys.leases
    book.close()


def test_what_was_taken_away_is_neither_begun_nor_buried_here(
    book: Book, client: Redis, keys: Keys, queue: str
) -> None:
    """Its copy runs elsewhere, and decides for itself."""
    waiting, begun = (*_take(book, client, keys, queue), *_take(book, client, keys, queue))
    assert book.begin([begun]) == [True]
    client.zrem(keys.leases, begun.consumer)
    assert not book.lease.renew()
    assert book.begin([waiting]) == [False]
    book.bury(begun, Death("failed"))
    assert client.xlen(keys.dlq) == 0
    assert b"acked" not in client.hgetall(keys.counters)
    book.close()
