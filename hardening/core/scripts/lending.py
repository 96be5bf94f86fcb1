"""The connections that scripts run over, which a pool lends."""

from __future__ import annotations

import os
import select
import socket
from typing import Any

from redis.connection import ConnectionPool
from redis.exceptions import RedisError

__all__ = ["give_back", "lend"]

#: Where one connection of a pool is kept between two commands; to redis-py it is in use. Pools that may have but few
#: connections need each.
_KEPT = "_hardening_kept"
_MANY = 8
#: Where a connection keeps its socket and what polls that.
_POLL = "_hardening_poll"


def lend(pool: Any) -> Any:
    """A connection of a pool: the one it lent before, if nobody else has it; asking it costs a tenth of a send.

    What the server has said unasked, such as goodbye, would be read as an answer: then the next command connects
    anew. That of a parent process is left to it.

    Raises:
        redis.RedisError: there is none, and none can be made.
    """
    try:
        connection = vars(pool).setdefault(_KEPT, []).pop()
    except IndexError:
        return pool.get_connection()
    if connection.pid != os.getpid():
        return pool.get_connection()
    try:
        if connection.is_connected and not _is_quiet(connection) and connection.can_read():
            connection.disconnect()
    except (RedisError, OSError):
        connection.disconnect()
    return connection


def give_back(pool: Any, connection: Any) -> None:
    """Ends the loan."""
    kept: list[Any] = vars(pool).setdefault(_KEPT, [])
    if kept or type(pool) is not ConnectionPool or pool.max_connections < _MANY:
        pool.release(connection)
    else:
        kept.append(connection)


def _is_quiet(connection: Any) -> bool:
    """Whether nothing has come, for sure. Over TLS, and without a poll, only redis-py can tell.

    Its own look makes a poll each time: in a process that has been asleep, that takes as long as a send.
    """
    sock, reader = connection._sock, getattr(connection._parser, "_reader", None)  # noqa: SLF001 - a test names them
    if reader is None or type(sock) is not socket.socket or not hasattr(select, "poll") or reader.has_data():
        return False
    known, poll = vars(connection).get(_POLL, (None, None))
    if known is not sock:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        vars(connection)[_POLL] = sock, poll
    return not poll.poll(0)
