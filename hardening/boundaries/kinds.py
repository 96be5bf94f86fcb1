"""Which errors are to be expected behind which kind of boundary, and which of them may be over in a moment.

Nothing is imported here: an error can only be of a library that is. Whatever is not named is a fault of this side,
and crashes.
"""

from __future__ import annotations

import errno
import socket
import sqlite3
import ssl
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from hardening.boundaries.retry_after import retry_after_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["KINDS", "Expected", "expected_of"]


class Expected(NamedTuple):
    """An error that was to be expected.

    Attributes:
        retryable: whether it may be over in a moment.
        retry_after_s: how long the other side asked to be left alone, in seconds; None: it said nothing.
    """

    retryable: bool
    retry_after_s: float | None = None


_LATER, _NEVER = Expected(retryable=True), Expected(retryable=False)
#: HTTP: try again later. All others of 4xx and 5xx would say the same again.
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Libraries whose errors wrap those of the next, and how deep that goes at most.
_WRAPPING = frozenset({"httpx", "httpcore", "requests", "urllib3", "anyio"})
_DEEPEST = 10
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ENETRESET})
_SQLITE_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR})
#: SQLSTATE classes: connection, transaction rollback, out of resources, operator intervention.
_SQLSTATE_PASSING = ("08", "40", "53", "57")


def _is(error: BaseException, names: Iterable[str]) -> bool:
    """Whether an error is of one of these classes, each ``module:name``, of modules that somebody has imported."""
    for name in names:
        module, _, attribute = name.partition(":")
        kind = getattr(sys.modules.get(module), attribute, None)
        if isinstance(kind, type) and isinstance(error, kind):
            return True
    return False


def _of_response(error: Any) -> Expected:
    response = getattr(error, "response", None)
    answer = error if response is None else response  # urllib's error is its own response
    status = getattr(answer, "status_code", None) or getattr(answer, "code", None)
    if status not in _PASSING_STATUS:
        return _NEVER
    return Expected(retryable=True, retry_after_s=retry_after_of(getattr(answer, "headers", None)))


def _on_the_way(error: BaseException) -> Expected:
    """It did not get there: in a moment it may, unless nobody is there, or not who it should be."""
    return _NEVER if any(_is_wrong_address(one) for one in _behind(error)) else _LATER


def _behind(error: BaseException) -> Iterator[object]:
    """An error and what is behind it: libraries wrap what the socket said, each in an error of its own.

    It ends below the innermost of theirs: what else was being handled when they were called is not their cause.
    """
    inner: BaseException | None = error
    for _ in range(_DEEPEST):
        if inner is None:
            return
        yield inner
        yield getattr(inner, "reason", None)
        if type(inner).__module__.partition(".")[0] not in _WRAPPING:
            return
        inner = inner.__cause__ or inner.__context__


def _is_wrong_address(error: object) -> bool:
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    return isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN


def _by_errno(error: BaseException) -> Expected | None:
    return _LATER if isinstance(error, OSError) and error.errno in _UNREACHABLE else None


def _wrapped(error: Any) -> Expected | None:
    """An error of a driver inside one of SQLAlchemy's."""
    if getattr(error, "connection_invalidated", False):
        return _LATER
    original = getattr(error, "orig", None)
    return _of_driver(original) if isinstance(original, BaseException) else None


def _of_driver(error: BaseException) -> Expected | None:
    """An error of PEP 249, which a driver's module says that it speaks; wrong SQL is a fault of this side."""
    kinds = type(error).__mro__
    names = {one.__name__ for one in kinds if hasattr(sys.modules.get(one.__module__.partition(".")[0]), "apilevel")}
    if names & {"IntegrityError", "DataError"}:
        return _NEVER
    if not names & {"OperationalError", "InterfaceError"}:
        return None
    return _by_sqlite(error) if isinstance(error, sqlite3.Error) else _by_state(error)


def _by_sqlite(error: sqlite3.Error) -> Expected | None:
    """SQLite calls a missing table operational too."""
    code = getattr(error, "sqlite_errorcode", None)
    return _LATER if code is not None and code & 0xFF in _SQLITE_PASSING else None


def _by_state(error: BaseException) -> Expected:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return _LATER if not isinstance(state, str) or state.startswith(_SQLSTATE_PASSING) else _NEVER


_Verdict = Expected | None | Callable[[Any], Expected | None]


def _all_of(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{module}:{name}" for name in names)


#: By kind, the first that fits: classes, and what is to be expected of them. None: it is a fault of this side.
_TABLES: dict[str, tuple[tuple[tuple[str, ...], _Verdict], ...]] = {
    "network": (
        (("httpx:HTTPStatusError", "requests.exceptions:HTTPError", "urllib.error:HTTPError"), _of_response),
        (_all_of("httpx", "UnsupportedProtocol", "LocalProtocolError"), None),
        (("httpx:TransportError", "urllib.error:URLError", "http.client:IncompleteRead"), _on_the_way),
        (_all_of("requests.exceptions", "ConnectionError", "Timeout", "ChunkedEncodingError"), _on_the_way),
        (("httpx:TooManyRedirects", "httpx:DecodingError", "requests.exceptions:TooManyRedirects"), _NEVER),
        (("requests.exceptions:RequestException",), None),  # a URL that is none, and the like: they are OSErrors too
        (("ssl:SSLError", "socket:gaierror"), _on_the_way),
        (("builtins:ConnectionError", "builtins:TimeoutError"), _LATER),
        (("builtins:OSError",), _by_errno),
    ),
    "database": (
        (_all_of("sqlalchemy.exc", "TimeoutError", "DisconnectionError"), _LATER),
        (("sqlalchemy.exc:DBAPIError",), _wrapped),
        (("builtins:Exception",), _of_driver),
    ),
    "json": ((("json:JSONDecodeError", "builtins:UnicodeDecodeError", "pydantic_core:ValidationError"), _NEVER),),
    "redis": (
        (_all_of("redis.exceptions", "AuthenticationError", "AuthorizationError", "OutOfMemoryError"), _NEVER),
        (_all_of("redis.exceptions", "ConnectionError", "TimeoutError", "BusyLoadingError", "ReadOnlyError"), _LATER),
        (_all_of("redis.exceptions", "TryAgainError", "MasterDownError", "ClusterDownError"), _LATER),
    ),
}
#: The names of the kinds.
KINDS = tuple(_TABLES)


def expected_of(kind: str, error: BaseException) -> Expected | None:
    """What is to be expected of an error behind a boundary of a kind; None: nothing, it is a fault of this side."""
    for names, verdict in _TABLES[kind]:
        if _is(error, names):
            return verdict(error) if callable(verdict) else verdict
    return None
