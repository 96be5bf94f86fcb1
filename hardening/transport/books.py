"""The books of this process: which channel writes in which."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

from redis import Redis

from hardening.core.errors import ConfigError
from hardening.core.scripts import Scope
from hardening.transport.book import Book
from hardening.transport.recovery import Recoverer
from hardening.transport.revoking import Revoker
from hardening.transport.stock import StockRestorer

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import ConnectionPool

    from hardening.core.settings import Settings

__all__ = ["close_kept", "open_book", "put_back"]

_mutex = threading.Lock()
#: Books whose connection broke and whose owner will be back, by process, broker and prefix.
_kept: dict[tuple[int, str, str], list[Book]] = {}


def open_book(
    broker: str, settings: Settings, pool: Callable[[], ConnectionPool], on_buried: Callable[[bytes], None]
) -> Book:
    """A book for a channel that begins to consume: the one its predecessor left, or a new one.

    Raises:
        ConfigError: Redis may throw away what it is given.
        redis.RedisError: the lease could not be taken.
    """
    with _mutex:
        kept = _kept.get((os.getpid(), broker, settings.prefix))
        if kept:
            return kept.pop()
    client = Redis(connection_pool=pool())
    _refuse_eviction(client)
    scope = Scope(settings.keys, settings.receipt_ttl_ms, f"{socket.gethostname()}:{os.getpid()}")
    book = Book(client, scope, settings)
    recoverer = Recoverer(client, scope, settings, lease=book.lease, on_buried=on_buried)
    stock, revoker = StockRestorer(client, settings), Revoker(client, scope, book)
    book.chores += [book.consuming.run_once, recoverer.run_once, stock.run_once, revoker.run_once]
    book.lease.start()
    return book


def _refuse_eviction(client: Redis) -> None:
    """A Redis that evicts keys under memory pressure would drop queues without a word."""
    memory: Any = client.info("memory")
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise ConfigError(
            f"Redis has maxmemory-policy {policy}, expected noeviction: it would delete messages when memory "
            "runs short. Set it with: redis-cli CONFIG SET maxmemory-policy noeviction, and in redis.conf"
        )


def put_back(broker: str, settings: Settings, book: Book) -> None:
    """A channel ends: its book is kept for the next one, or closed."""
    with _mutex:
        if book.keep:
            _kept.setdefault((os.getpid(), broker, settings.prefix), []).append(book)
            return
    book.close()


def close_kept() -> None:
    """Closes the books that wait for a connection which will not come, because the process stops."""
    with _mutex:
        waiting = [book for books in _kept.values() for book in books]
        _kept.clear()
    for book in waiting:
        book.close()


def _forget() -> None:
    """In a forked child: the parent's books, threads and locks are not ours."""
    global _mutex  # noqa: PLW0603 - the lock may have been held in the parent
    _mutex = threading.Lock()
    _kept.clear()


os.register_at_fork(after_in_child=_forget)
