"""The end of a book: all is settled and given back, even if Redis has to be waited for."""

from __future__ import annotations

import time
from threading import Timer
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from hardening.core import telemetry
from hardening.core.scripts import Scope, Taken
from hardening.core.settings import Settings
from hardening.transport.book import Book
from tests.faults.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys
    from hardening.transport.held import Held
    from tests.integration.stage import Stage

_SOCKET_TIMEOUT_S = 0.2
_LEASE_S = 1.5


@pytest.fixture
def proxy(server: EmbeddedRedis) -> Iterator[Proxy]:
    """The way to Redis, which can be closed."""
    with Proxy(server.broker_url) as proxy:
        yield proxy


@pytest.fixture
def book(proxy: Proxy, keys: Keys) -> Iterator[Book]:
    """A book that reaches Redis through the proxy."""
    client = _client(proxy)
    book = Book(client, Scope(keys, 60_000, "test"), Settings(prefix=keys.prefix, lease_ttl_s=_LEASE_S))
    book.lease.start()
    yield book
    book.lease.stop()
    client.close()


def _client(proxy: Proxy) -> Redis:
    timeouts = {"socket_timeout": _SOCKET_TIMEOUT_S, "socket_connect_timeout": _SOCKET_TIMEOUT_S}
    return Redis(port=proxy.port, retry=Retry(NoBackoff(), 0), **timeouts)  # type: ignore[arg-type]


def _take(book: Book, stage: Stage, *names: str) -> list[Held]:
    for name in names:
        stage.publish(name)
    lists = [stage.list_key()]
    call, consumer = book.take_call(lists, 100)
    return book.admit(Taken.parse(stage.run(call), lists), consumer)


def _ack_while_away(book: Book, proxy: Proxy, held: Held) -> None:
    """The task ends just when Redis can no longer be reached."""
    assert book.begin([held])
    book.has_loop = True
    proxy.swallow()
    book.ack(held)


def test_an_ack_is_written_although_redis_is_away_when_the_book_is_closed(
    book: Book, proxy: Proxy, stage: Stage
) -> None:
    """Or the finished task would run again; what had not been begun goes back; nothing is left behind."""
    done, waiting = _take(book, stage, "done", "waiting")
    _ack_while_away(book, proxy, done)
    timer = Timer(0.6, proxy.forward)
    timer.start()
    with telemetry.capture("hardening.consumer") as events:
        book.close()
    timer.join()
    state = stage.state()
    assert (state.queued, state.inflight, state.started, state.leases) == ({"q": ["waiting"]}, {}, {}, set())
    assert stage.ledger().counters["acked"] == 1
    assert [event.left_behind for event in events if isinstance(event, telemetry.ConsumerLeft)] == [0]
    assert not waiting.begun
    book.close()  # again: nothing changes
    assert stage.ledger().counters["acked"] == 1


def test_a_book_gives_up_when_its_lease_is_over(book: Book, proxy: Proxy, stage: Stage) -> None:
    """Others recover what is left; whoever closes it waits no longer than a lease and an answer that does not come."""
    (held,) = _take(book, stage, "done")
    consumer = book.lease.consumer
    _ack_while_away(book, proxy, held)
    begin_s = time.monotonic()
    book.close()
    took_s = time.monotonic() - begin_s
    assert _LEASE_S / 2 < took_s < _LEASE_S + 2 * _SOCKET_TIMEOUT_S
    assert not book.lease.is_held()
    state = stage.state()
    assert (state.inflight, state.started) == ({consumer: ["done"]}, {consumer: ["done"]})
    assert "acked" not in stage.ledger().counters


def test_what_was_taken_and_never_arrived_goes_back_when_the_book_is_closed(book: Book, stage: Stage) -> None:
    """The reply of the take was lost with the connection; nobody else would touch the message for a lease."""
    stage.publish("lost")
    stage.run(book.take_call([stage.list_key()], 1)[0])
    assert stage.state().inflight == {book.lease.consumer: ["lost"]}
    book.close()
    state = stage.state()
    assert (state.queued, state.inflight) == ({"q": ["lost"]}, {})
