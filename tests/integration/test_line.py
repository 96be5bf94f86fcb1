"""A connection on which calls are written now and answered later: when does it count as alive?"""

from __future__ import annotations

import select
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from hardening.core.scripts import Scope, Taken
from hardening.core.settings import Settings
from hardening.transport.book import Book
from hardening.transport.line import SILENCE_S, Line
from tests.eventually import eventually
from tests.faults.proxy import Proxy
from tests.integration.stage import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardening.core.embedded import EmbeddedRedis
    from tests.integration.stage import Stage

pytestmark = pytest.mark.one_server


@contextmanager
def _line_through(proxy: Proxy) -> Iterator[Line]:
    with Redis(host="127.0.0.1", port=proxy.port, socket_timeout=5.0) as client:
        connection: Any = client.connection_pool.get_connection()
        yield Line(connection)
        client.connection_pool.release(connection)


@pytest.fixture
def proxy(server: EmbeddedRedis) -> Iterator[Proxy]:
    """The way to the server, which can be made to swallow."""
    with Proxy(server.broker_url) as proxy:
        yield proxy


def test_a_line_that_owes_no_answer_is_heard(proxy: Proxy) -> None:
    """Nobody asked, so nobody is silent."""
    with _line_through(proxy) as line:
        proxy.swallow()
        assert (line.waited_s, line.is_heard()) == (0.0, True)


def test_a_line_is_heard_while_an_answer_waits_to_be_read(stage: Stage, proxy: Proxy) -> None:
    """However long the loop has been busy elsewhere."""
    replies: list[int] = []
    with _line_through(proxy) as line:
        line.send(stage.scope.purge(stage.list_key(), 1), replies.append)
        socket: Any = line._connection._sock
        assert select.select([socket], [], [], 10)[0]
        eventually(lambda: line.waited_s > 3 * SILENCE_S)
        assert line.is_heard()
        line.drain()
        assert (replies, line.is_heard()) == ([0], True)


def test_a_line_is_heard_though_another_thread_reads_the_answer_first(
    stage: Stage, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks then finds nothing to read, for as long as it waits."""
    with _line_through(proxy) as line:
        line.send(stage.scope.purge(stage.list_key(), 1), lambda _: None)
        eventually(lambda: line.waited_s > SILENCE_S)

        def read_by_another(*_: object) -> tuple[list[Any], ...]:
            line.drain()
            return [], [], []

        monkeypatch.setattr(select, "select", read_by_another)
        assert line.is_heard()


def test_a_line_that_stays_silent_is_not_heard(stage: Stage, proxy: Proxy) -> None:
    """Bytes go out, none come back."""
    with _line_through(proxy) as line:
        proxy.swallow()
        line.send(stage.scope.purge(stage.list_key(), 1), lambda _: None)
        eventually(lambda: line.waited_s > SILENCE_S)
        assert not line.is_heard()


def test_what_cannot_be_heard_is_not_begun_and_goes_back(stage: Stage, client: Redis, proxy: Proxy) -> None:
    """The lease still holds, and the mark may even have arrived: it is taken back all the same, uncharged."""
    book = Book(client, Scope(stage.keys, 60_000, "w"), Settings(prefix=stage.prefix))
    book.lease.renew()
    for name in ("a", "b"):
        stage.publish(name)
    with _line_through(proxy) as line:
        book.use_line(line)
        book.keep = True
        call, consumer = book.take_call([stage.list_key()], 2)
        first, second = book.admit(Taken.parse(call.run(client), [stage.list_key()]), consumer)
        proxy.swallow()
        book.begin([first])  # heard or not: nothing was owed when it was asked
        eventually(lambda: line.waited_s > SILENCE_S)
        assert book.lease.is_held()
        assert book.begin([second]) == [False]
        book.has_loop = book.keep = False
        book.close()
    assert stage.state() == State(queued={"q": ["a", "b"]}, rung={"q"}, leases={consumer})
    assert stage.ledger().counters == {"published": 2, "released": 2}
