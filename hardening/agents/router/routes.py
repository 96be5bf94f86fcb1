"""What one process knows of subscriptions: a copy of them, with the version that Redis checks.

A copy that is stale routes nothing: the script that publishes refuses it, and it is brought up to date.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hardening.agents.router.mould import Mould
from hardening.agents.router.pattern import name_words
from hardening.agents.router.subscription import records_in
from hardening.agents.router.trie import Trie
from hardening.core import raw as raw_message
from hardening.core.forked import forked_lock
from hardening.core.scripts.signalling import Number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery

    from hardening.agents.router.subscriber import Subscriber
    from hardening.agents.router.subscription import Record

__all__ = ["Emitter", "Route", "Routes", "routes_of"]

_ROUTES = "_hardening_routes"
#: How many names are remembered with who is told of them.
_MOST_NAMES = 10_000

_mutex = forked_lock()


@dataclass(frozen=True, slots=True)
class Route:
    """One subscriber of a signal.

    Attributes:
        key: tells it from others.
        to: who it is.
        conditions: id and tie of each subscription, where all may end; empty: one cannot.
    """

    key: str
    to: Subscriber
    conditions: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Emitter:
    """Numbers its signals, which it emits one after the other.

    Attributes:
        name: nobody else's.
        count: of its signals.
        took: how long one took that was not told yet: the bucket, and in us.
    """

    name: str = field(default_factory=raw_message.new_id)
    count: int = 0
    took: tuple[str, int] = ("", 0)

    def next(self) -> Number:
        """The number of its next one."""
        self.count += 1
        return Number(self.name, self.count)


class Routes:
    """All subscriptions as of one version. Any thread may use it; it never crosses a fork.

    Args:
        app: who emits.
    """

    def __init__(self, app: Celery) -> None:
        self.pid = os.getpid()
        self._app = app
        self._mutex = threading.Lock()
        self._version = ""
        self._records: dict[str, tuple[str, Record]] = {}
        self._trie: Trie[str] = Trie()
        self._by_name: dict[str, tuple[Route, ...]] = {}
        self._moulds: dict[str, Mould] = {}
        self._emitters: deque[Emitter] = deque()

    @property
    def version(self) -> str:
        """What the next reading is to begin with; empty: nothing was read."""
        return self._version

    def match(self, signal: str) -> tuple[str, tuple[Route, ...]]:
        """Who is told of a signal, and the version in which that is so.

        Raises:
            ValueError: that is no name.
        """
        with self._mutex:
            found = self._by_name.get(signal)
            if found is None:
                found = self._found(signal)
                if len(self._by_name) >= _MOST_NAMES:
                    self._by_name.clear()
                self._by_name[signal] = found
            return self._version, found

    def hear(self, reply: Sequence[bytes]) -> None:
        """Takes in what Redis told of changes; what does not follow on what is known here is left alone."""
        since, version, *parts = reply
        with self._mutex:
            if since and since.decode() != self._version:
                return  # another thread was quicker
            if not since:
                self._records, self._trie = {}, Trie()
            for name, parsed in records_in(parts):
                self._put(name, parsed)
            self._version = version.decode()
            self._by_name.clear()
            if not since or len(self._moulds) > 2 * len(self._records):
                self._moulds.clear()

    def mould(self, route: Route) -> Mould:
        """What the messages of a subscriber are cut from."""
        mould = self._moulds.get(route.key)
        if mould is None:
            mould = self._moulds[route.key] = Mould(self._app, route.to)
        return mould

    def lend(self) -> Emitter:
        """An emitter that nobody else has meanwhile."""
        try:
            return self._emitters.pop()
        except IndexError:
            return Emitter()

    def give_back(self, emitter: Emitter) -> None:
        """After a signal whose fate is known. One of which it is not is kept out, for its repeat may still come."""
        self._emitters.append(emitter)

    def _put(self, name: str, parsed: tuple[str, Record] | None) -> None:
        before = self._records.pop(name, None)
        if before is not None:
            self._trie.discard(before[1].words, name)
        if parsed is not None:
            self._records[name] = parsed
            self._trie.add(parsed[1].words, name)

    def _found(self, signal: str) -> tuple[Route, ...]:
        """Each subscriber once, with all of its subscriptions that match."""
        matching: dict[str, list[str]] = {}
        for name in sorted(self._trie.match(name_words(signal))):
            matching.setdefault(self._records[name][1].to.key, []).append(name)
        routes = []
        for key, names in sorted(matching.items()):
            records = {name: self._records[name] for name in names}
            may_end = all(tie or record.ttl_ms for tie, record in records.values())
            conditions = tuple((name, tie) for name, (tie, _) in records.items()) if may_end else ()
            routes.append(Route(key, records[names[0]][1].to, conditions))
        return tuple(routes)


def routes_of(app: Celery) -> Routes:
    """What this process knows of an app's subscriptions. After a fork the child begins with nothing."""
    found: Routes | None = vars(app).get(_ROUTES)
    if found is not None and found.pid == os.getpid():
        return found
    with _mutex:
        found = vars(app).get(_ROUTES)
        if found is None or found.pid != os.getpid():
            found = Routes(app)
            setattr(app, _ROUTES, found)
        return found
