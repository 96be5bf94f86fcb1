"""Which connection a script runs over: the last one again, unless that is not to be trusted any more."""

from __future__ import annotations

import ssl
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from redis import ConnectionPool, Redis

from hardening.core.scripts import lending
from hardening.core.scripts.calls import watch
from tests.conftest import SERVERS
from tests.eventually import eventually
from tests.forked import forked

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys

pytestmark = pytest.mark.skipif(not SERVERS, reason="no Redis server on this machine")


@pytest.fixture
def run(client: Redis, keys: Keys) -> Callable[[], None]:
    """Runs a script that finds nothing."""
    call = watch(keys, "nobody", 1)

    def run() -> None:
        assert call.run(client) == []

    return run


def _ids(client: Redis, server: EmbeddedRedis) -> set[str]:
    """The server's ids of a client's connections."""
    name = f"test-{id(client)}"
    with server.client() as other:
        return {each["id"] for each in other.client_list() if each["name"] == name}


@pytest.fixture
def client(server: EmbeddedRedis) -> Any:
    """A client whose connections can be told from those of others."""
    client = server.client()
    client.connection_pool.connection_kwargs["client_name"] = f"test-{id(client)}"
    yield client
    client.close()


def test_one_connection_serves_one_thread(
    run: Callable[[], None], client: Redis, server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is not asked of the pool each time."""
    asked: list[Any] = []
    get = ConnectionPool.get_connection

    def counted(pool: Any) -> Any:
        asked.append(pool)
        return get(pool)

    monkeypatch.setattr(ConnectionPool, "get_connection", counted)
    for _ in range(10):
        run()
    assert len(asked) == 1
    assert len(_ids(client, server)) == 1


def test_a_connection_that_the_server_closed_is_not_used(
    run: Callable[[], None], client: Redis, server: EmbeddedRedis
) -> None:
    """A restart, a timeout of the server, or an operator; nobody is troubled with it."""
    run()
    (first,) = _ids(client, server)
    with server.client() as operator:
        operator.client_kill_filter(_id=first)
    eventually(lambda: not _ids(client, server))
    run()
    (second,) = _ids(client, server)
    assert second != first


@pytest.mark.parametrize("is_buffered", [True, False], ids=["read already", "not read"])
def test_what_was_said_unasked_is_no_answer(
    run: Callable[[], None], client: Redis, server: EmbeddedRedis, is_buffered: bool
) -> None:
    """It came after the last answer: with it, or later."""
    run()
    pool: Any = client.connection_pool
    (connection,) = vars(pool)["_hardening_kept"]
    (first,) = _ids(client, server)
    if is_buffered:
        connection._parser._reader.feed(b"+unasked\r\n")
    else:
        connection._sock.sendall(b"PING\r\n")
        eventually(lambda: connection.can_read(0))
    run()
    assert _ids(client, server) != {first}


@pytest.mark.parametrize("lack", ["a poll", "a plain socket", "a parser in C"])
def test_where_only_redis_py_can_tell_it_is_asked(
    run: Callable[[], None], client: Redis, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    """Over TLS what came may have been deciphered already."""
    run()
    (connection,) = vars(client.connection_pool)["_hardening_kept"]
    assert lending._is_quiet(connection)
    with monkeypatch.context() as lacking:
        if lack == "a poll":
            lacking.setattr(lending, "select", object())
        elif lack == "a plain socket":
            lacking.setattr(lending, "socket", SimpleNamespace(socket=ssl.SSLSocket))
        else:
            lacking.setattr(connection, "_parser", object())
        assert not lending._is_quiet(connection)


def test_threads_do_not_share_a_connection(client: Redis, keys: Keys) -> None:
    """Each gets its own answers."""
    wrong, barrier = [], threading.Barrier(8)

    def ask(name: str) -> None:
        client.hset(keys.delivery(name), "name", name)
        barrier.wait(10)
        for _ in range(200):
            reply = watch(keys, name, 1000).run(client)
            if dict(zip(reply[1::2], reply[2::2], strict=True))[b"name"] != name.encode():
                wrong.append(reply)

    threads = [threading.Thread(target=ask, args=(f"n{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong


def test_a_forked_child_leaves_the_connection_to_its_parent(
    run: Callable[[], None], client: Redis, server: EmbeddedRedis
) -> None:
    """Both would read each other's answers."""
    run()
    before = _ids(client, server)

    def run_there() -> bool:
        run()
        return len(_ids(client, server)) == 2

    assert forked(run_there) == 0
    run()
    assert _ids(client, server) == before


def test_a_pool_that_may_have_few_connections_gets_each_back(server: EmbeddedRedis, keys: Keys) -> None:
    """Others need them."""
    pool = ConnectionPool.from_url(server.url, max_connections=1)
    with Redis(connection_pool=pool) as client:
        for _ in range(3):
            assert watch(keys, "nobody", 1).run(client) == []
            assert client.ping()
    pool.disconnect()
