"""Boundaries: what is to be expected becomes one kind of error, and everything else crashes."""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import pickle
import socket
import sqlite3
import ssl
import subprocess
import sys
from email.message import Message
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError

import httpx
import pydantic
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardening.boundaries import (
    BoundaryError,
    database_boundary,
    json_boundary,
    network_boundary,
    redis_boundary,
)
from hardening.boundaries.kinds import KINDS, expected_of

if TYPE_CHECKING:
    from collections.abc import Callable

_BOUNDARIES = {
    "network": network_boundary,
    "database": database_boundary,
    "json": json_boundary,
    "redis": redis_boundary,
}


def _status(code: int, **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://there")
    response = httpx.Response(code, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return httpx.HTTPStatusError(f"status {code}", request=request, response=response)


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def _while(error: Exception, cause: Exception) -> Exception:
    error.__context__ = cause
    return error


def _sqlite(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("said by SQLite")
    error.sqlite_errorcode = code
    return error


def _invalid() -> pydantic.ValidationError:
    try:
        pydantic.TypeAdapter(int).validate_python("x")
    except pydantic.ValidationError as error:
        return error
    raise AssertionError


_NOBODY = socket.gaierror(socket.EAI_NONAME, "no such host")
_WRONG = ssl.SSLCertVerificationError("not who it says")

#: Of which kind, whether it may be over in a moment, and what was raised.
_EXPECTED: list[tuple[str, bool, Exception]] = [
    *(("network", True, _status(code)) for code in (408, 425, 429, 500, 502, 503, 504)),
    *(("network", False, _status(code)) for code in (400, 401, 403, 404, 409, 410, 422, 501)),
    ("network", True, HTTPError("", 503, "", Message(), None)),
    ("network", False, HTTPError("", 404, "", Message(), None)),
    ("network", True, httpx.ConnectError("refused")),
    ("network", True, httpx.ReadTimeout("slow")),
    ("network", True, httpx.RemoteProtocolError("cut off")),
    ("network", True, httpx.PoolTimeout("busy")),
    ("network", False, httpx.TooManyRedirects("round and round")),
    ("network", False, httpx.DecodingError("not gzip")),
    ("network", False, _caused(httpx.ConnectError("name"), _NOBODY)),
    ("network", False, _caused(httpx.ConnectError("certificate"), _WRONG)),
    ("network", False, _while(httpx.ConnectError("name"), _NOBODY)),
    ("network", True, URLError(ConnectionRefusedError())),
    ("network", False, URLError(_WRONG)),
    ("network", True, http.client.IncompleteRead(b"")),
    ("network", True, http.client.RemoteDisconnected("cut off")),
    ("network", True, ConnectionResetError()),
    ("network", True, BrokenPipeError()),
    ("network", True, TimeoutError()),
    ("network", True, OSError(errno.EHOSTUNREACH, "no route")),
    ("network", True, socket.gaierror(socket.EAI_AGAIN, "try again")),
    ("network", False, _NOBODY),
    ("network", True, ssl.SSLEOFError()),
    ("network", False, _WRONG),
    ("database", True, _sqlite(sqlite3.SQLITE_BUSY)),
    ("database", True, _sqlite(sqlite3.SQLITE_LOCKED_SHAREDCACHE)),
    ("database", False, sqlite3.IntegrityError("twice")),
    ("database", False, sqlite3.DataError("too large")),
    ("json", False, json.JSONDecodeError("no", "", 0)),
    ("json", False, UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")),
    ("json", False, _invalid()),
    ("redis", True, redis.ConnectionError("gone")),
    ("redis", True, redis.TimeoutError("slow")),
    ("redis", True, redis.BusyLoadingError("loading")),
    ("redis", True, redis.ReadOnlyError("replica")),
    ("redis", True, redis.exceptions.ClusterDownError("down")),
    ("redis", False, redis.AuthenticationError("who are you")),
    ("redis", False, redis.OutOfMemoryError("full")),
]
#: Faults of this side.
_BUGS: list[Exception] = [
    ValueError("bug"), TypeError("bug"), KeyError("bug"), AttributeError("bug"), RuntimeError("bug"), Exception("bug"),
    OSError("bug"), FileNotFoundError("bug"), PermissionError(errno.EACCES, "bug"), httpx.InvalidURL("bug"),
    httpx.UnsupportedProtocol("bug"), httpx.LocalProtocolError("bug"), httpx.StreamConsumed(),
    sqlite3.ProgrammingError("bug"), _sqlite(sqlite3.SQLITE_ERROR), sqlite3.OperationalError("no code"),
    redis.ResponseError("WRONGTYPE"), redis.DataError("bug"), redis.WatchError("bug"),
    UnicodeEncodeError("utf-8", "x", 0, 1, "bug"), RecursionError("bug"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "retryable", "error"), _EXPECTED, ids=[f"{kind} {error!r:.60}" for kind, _, error in _EXPECTED]
)
def test_what_is_expected_becomes_a_boundary_error_and_only_of_its_kind(
    kind: str, error: Exception, *, retryable: bool
) -> None:
    """With what was raised as its cause."""
    with pytest.raises(BoundaryError) as caught, _BOUNDARIES[kind]:
        raise error
    failed = caught.value
    assert (failed.category, failed.retryable, failed.cause) == (kind, retryable, error)
    assert failed.__cause__ is error
    assert str(failed).startswith(f"{kind}: {type(error).__name__}: ")
    for other in KINDS:
        assert other == kind or expected_of(other, error) is None


@pytest.mark.parametrize("error", _BUGS, ids=[f"{error!r:.60}" for error in _BUGS])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_of_this_side_crashes(kind: str, error: Exception) -> None:
    """As it is: the same object."""
    with pytest.raises(type(error)) as caught, _BOUNDARIES[kind]:
        raise error
    assert caught.value is error


def test_what_is_no_error_goes_through() -> None:
    """Somebody presses Ctrl-C; and a boundary inside a boundary has said all there is to say."""
    for boundary in _BOUNDARIES.values():
        with pytest.raises(KeyboardInterrupt), boundary:
            raise KeyboardInterrupt
    with pytest.raises(BoundaryError) as caught, redis_boundary, network_boundary, network_boundary:
        raise TimeoutError
    assert isinstance(caught.value.cause, TimeoutError)
    with network_boundary as entered:
        assert repr(entered) == "network_boundary"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(KINDS)), st.sampled_from([error for _, _, error in _EXPECTED] + _BUGS))
def test_an_error_is_either_expected_or_itself(kind: str, error: Exception) -> None:
    """Whichever meets whichever: nothing is swallowed."""
    with pytest.raises(Exception) as caught, _BOUNDARIES[kind]:  # noqa: PT011 - that is the point
        raise error
    expected = expected_of(kind, error)
    assert (caught.value is error) == (expected is None)
    assert expected is None or isinstance(caught.value, BoundaryError)


def test_as_a_decorator_and_for_coroutines() -> None:
    """The name stays, the result too."""

    @network_boundary
    def call(error: Exception | None = None) -> str:
        """Calls."""
        if error:
            raise error
        return "answer"

    @network_boundary
    async def acall(error: Exception | None = None) -> str:
        await asyncio.sleep(0)
        return call.__wrapped__(error)  # type: ignore[attr-defined,no-any-return]

    async def block() -> None:
        async with network_boundary:
            await acall.__wrapped__(TimeoutError())  # type: ignore[attr-defined]

    assert (call(), call.__name__, call.__doc__) == ("answer", "call", "Calls.")
    assert asyncio.run(acall()) == "answer"
    fails: list[Callable[[], object]] = [
        lambda: call(TimeoutError()), lambda: asyncio.run(acall(TimeoutError())), lambda: asyncio.run(block()),
    ]  # fmt: skip
    for fail in fails:
        with pytest.raises(BoundaryError):
            fail()
    with pytest.raises(ValueError, match="bug"):
        asyncio.run(acall(ValueError("bug")))


def test_an_error_can_be_sent_to_another_process() -> None:
    """A pool's child does; its cause may be nothing that can be sent, and stays behind."""
    error = BoundaryError("network", _status(503), retryable=True, retry_after_s=2.0)
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (str(back), back.category, back.retryable, back.retry_after_s) == (str(error), "network", True, 2.0)
    assert back.cause is None


# -- libraries that are not here


def _module(monkeypatch: pytest.MonkeyPatch, name: str, **classes: Any) -> Any:
    module: Any = ModuleType(name)
    for one, kind in classes.items():
        setattr(module, one, kind)
        if isinstance(kind, type):
            kind.__module__ = name
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_errors_of_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known by what PEP 249 calls them, and by their SQLSTATE."""
    operational = type("OperationalError", (Exception,), {})
    deadlock = type("DeadlockDetected", (operational,), {"sqlstate": "40P01"})
    refused = type("InvalidPassword", (operational,), {"pgcode": "28P01"})
    driver = _module(monkeypatch, "anysql", apilevel="2.0", OperationalError=operational, Deadlock=deadlock, No=refused)
    wrong = type("ProgrammingError", (Exception,), {"__module__": "anysql"})
    assert expected_of("database", driver.OperationalError()) == (True, None)
    assert expected_of("database", driver.Deadlock()) == (True, None)
    assert expected_of("database", driver.No()) == (False, None)
    assert expected_of("database", wrong()) is None
    assert expected_of("database", type("OperationalError", (Exception,), {})()) is None  # of no driver


def test_no_library_is_imported_for_it() -> None:
    """An error can only be of one that is there already."""
    code = (
        "import sys; from hardening.boundaries import *\n"
        "with protect(fallback=None): raise TimeoutError\n"
        "print([name for name in ('httpx', 'requests', 'sqlalchemy') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "[]\n"
