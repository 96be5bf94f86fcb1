"""What real libraries raise behind boundaries: from real sockets, certificates and databases, none of it made up."""

from __future__ import annotations

import socket
import ssl
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import httpx
import pytest
import requests
import sqlalchemy
import trustme
from sqlalchemy.pool import QueuePool

from hardening.boundaries import BoundaryError, database_boundary, network_boundary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class _Answers(BaseHTTPRequestHandler):
    """``/503`` is answered so, ``/cut`` with less than was promised, ``/loop`` by itself, ``/slow`` not at all."""

    protocol_version = "HTTP/1.1"
    over = threading.Event()

    def do_GET(self) -> None:
        """What the path says."""
        what = self.path.strip("/")
        if what == "slow":
            self.over.wait(30)
            return
        self.send_response(int(what) if what.isdecimal() else 302 if what == "loop" else 200)
        self.send_header("Retry-After", "7")
        self.send_header("Location", "/loop")
        self.send_header("Content-Length", "10" if what == "cut" else "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Who does not trust it hangs up."""


def _serving(context: ssl.SSLContext | None = None) -> Iterator[str]:
    with _Server(("127.0.0.1", 0), _Answers) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        _Answers.over.clear()
        yield f"{'https' if context else 'http'}://localhost:{server.server_port}"
        _Answers.over.set()
        server.shutdown()
        thread.join(10)


@pytest.fixture
def url() -> Iterator[str]:
    """Where somebody answers."""
    yield from _serving()


@pytest.fixture
def url_of_nobody_trusted() -> Iterator[str]:
    """Where somebody answers with a certificate that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    yield from _serving(context)


def _by_requests(url: str) -> None:
    with requests.get(url, timeout=0.5) as response:
        response.raise_for_status()


def _by_httpx(url: str) -> None:
    with httpx.Client(timeout=0.5, follow_redirects=True) as client:
        client.get(url).raise_for_status()


def _by_urllib(url: str) -> None:
    with urllib.request.urlopen(url, timeout=0.5) as response:  # noqa: S310 - our own server
        response.read()


_EACH = pytest.mark.parametrize("get", [_by_requests, _by_httpx, _by_urllib])


def _verdict(get: Callable[[str], None], url: str) -> tuple[bool, float | None]:
    with pytest.raises(BoundaryError) as caught, network_boundary:
        get(url)
    if isinstance(caught.value.cause, HTTPError):
        caught.value.cause.close()  # urllib's is its own response
    return caught.value.retryable, caught.value.retry_after_s


@_EACH
def test_what_a_server_answers(get: Callable[[str], None], url: str) -> None:
    """What is over in a moment, with when; what is not; and what is not even an answer."""
    assert _verdict(get, f"{url}/503") == (True, 7.0)
    assert _verdict(get, f"{url}/429") == (True, 7.0)
    assert _verdict(get, f"{url}/404") == (False, None)
    assert _verdict(get, f"{url}/cut") == (True, None)
    assert _verdict(get, f"{url}/slow") == (True, None)
    assert _verdict(get, f"{url}/loop") == (False, None)
    with network_boundary:
        get(f"{url}/200")


@_EACH
def test_where_nobody_answers(get: Callable[[str], None]) -> None:
    """In a moment somebody may."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        assert _verdict(get, f"http://127.0.0.1:{free.getsockname()[1]}/") == (True, None)


@_EACH
def test_who_is_not_who_it_should_be(get: Callable[[str], None], url_of_nobody_trusted: str) -> None:
    """However deep the library has wrapped what the socket said."""
    assert _verdict(get, url_of_nobody_trusted) == (False, None)


@_EACH
@pytest.mark.parametrize(("code", "retryable"), [(socket.EAI_NONAME, False), (socket.EAI_AGAIN, True)])
def test_names_that_nobody_has(
    get: Callable[[str], None], code: int, monkeypatch: pytest.MonkeyPatch, *, retryable: bool
) -> None:
    """There is no such host; or the resolver is away."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert _verdict(get, "http://nobody.invalid/") == (retryable, None)


@_EACH
def test_what_else_is_being_handled_is_no_cause(get: Callable[[str], None]) -> None:
    """A fallback that is called because a name was not found may be tried again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        try:
            raise socket.gaierror(socket.EAI_NONAME, "the first choice")  # noqa: TRY301 - that is the point
        except socket.gaierror:
            assert _verdict(get, url) == (True, None)


@pytest.mark.parametrize("bad", ["no-scheme", "http://"])
def test_an_address_that_is_none_is_a_fault_of_this_side(bad: str) -> None:
    """It crashes."""
    with pytest.raises(requests.RequestException), network_boundary:
        _by_requests(bad)
    with pytest.raises(httpx.UnsupportedProtocol), network_boundary:
        _by_httpx(bad)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sqlalchemy.Engine]:
    """A database with one table, and one connection for whoever comes first."""
    engine = sqlalchemy.create_engine(
        f"sqlite:///{tmp_path / 'shop.db'}", connect_args={"timeout": 0.01}, poolclass=QueuePool, pool_size=1,
        max_overflow=0, pool_timeout=0.01,
    )  # fmt: skip
    with engine.begin() as connection:
        connection.exec_driver_sql("create table orders (id integer primary key)")
    yield engine
    engine.dispose()


def _of(work: Callable[[], Any]) -> bool:
    with pytest.raises(BoundaryError) as caught, database_boundary:
        work()
    return caught.value.retryable


def test_what_sqlalchemy_says_of_a_database(engine: sqlalchemy.Engine, tmp_path: Path) -> None:
    """That it is busy, that it will not, that nobody is free; wrong SQL is a fault of this side."""
    other = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with other.connect() as locking, engine.connect() as connection:
        locking.exec_driver_sql("begin immediate")
        assert _of(lambda: connection.exec_driver_sql("insert into orders values (1)"))
        locking.rollback()
        connection.rollback()
        connection.exec_driver_sql("insert into orders values (1)")
        assert not _of(lambda: connection.exec_driver_sql("insert into orders values (1)"))
        assert _of(engine.connect)  # its one connection is taken
        with pytest.raises(sqlalchemy.exc.OperationalError), database_boundary:
            connection.exec_driver_sql("select nonsense from orders")
        with pytest.raises(sqlalchemy.exc.ArgumentError), database_boundary:
            sqlalchemy.create_engine("nonsense")
    other.dispose()


def test_a_connection_that_sqlalchemy_gave_up(engine: sqlalchemy.Engine) -> None:
    """Whatever the driver said: a new one may work."""
    lost = sqlalchemy.exc.DBAPIError("select 1", {}, ValueError("gone"), connection_invalidated=True)

    def work() -> None:
        with engine.connect():
            raise lost

    assert _of(work)
    lost.connection_invalidated = False
    with pytest.raises(sqlalchemy.exc.DBAPIError), database_boundary:
        work()
