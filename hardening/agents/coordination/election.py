"""Electing a leader among processes: one lease, and a fence number that is higher with each leader.

    with elect_leader("nightly-report", ttl=10) as lead:
        if lead.wait(timeout=60):
            while lead.is_leader():
                store.write(page(), fence=lead.must_lead())

Guarantees: at any instant at most one candidate's :meth:`Election.is_leader` is true, whatever dies, freezes or is cut
off: by its own clock, which goes on while it is frozen, a leader knows that its lease is over before another can have
it. Fence numbers rise; who keeps the highest one he has seen and refuses lower ones, is safe from a leader that was
frozen between asking and acting. A leader that dies is followed within its lease, one that resigns at once.

Does not guarantee: that what a leader has begun stops when it loses the lead; nor that two leads never overlap when the
clock of Redis jumps forward: for that, use the fence. What Redis itself loses, in a failover or a restart without its
append-only file, is a lease and the last fence number together. Nor are leads handed out in any order.

The lease is that of the beats (:mod:`beat_schedules.leader`), and fencing is Martin Kleppmann's ("How to do distributed
locking", 2016).

Events: ``hardening.lead.gained``, ``.ended``, ``.not_asked``, ``.tell_failed``.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from celery._state import get_current_app
from redis.exceptions import RedisError

from hardening.agents.coordination.errors import LeadLost
from hardening.agents.coordination.events import LeadEnded, LeadGained, LeadNotAsked, LeadTellFailed
from hardening.agents.coordination.names import checked_name, checked_s, new_identity
from hardening.core import telemetry
from hardening.core.deployment import client_of, settings_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.coordinating import Elected, elect, resign_lead

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from celery import Celery

__all__ = ["Election", "elect_leader"]

#: How soon to ask again when Redis is away, and how long to listen for a vacancy at most, in seconds.
_RETRY_S = 0.25
_LISTEN_S = 1.0
#: The shortest lease that a busy machine can keep, in seconds.
_SHORTEST_S = 0.3
#: After a lease has run out: what Redis rounds, in seconds.
_AFTER_S = 0.005


class _Lead(NamedTuple):
    """What a candidate has; changed as a whole."""

    token: str = ""
    fence: int = 0
    until_s: float = 0.0


def elect_leader(
    name: str,
    *,
    candidate: str | None = None,
    ttl: float = 10.0,
    on_gained: Callable[[int], Any] | None = None,
    on_lost: Callable[[int], Any] | None = None,
    app: Celery | None = None,
) -> Election:
    """Stands for election, from now until :meth:`Election.stop`, or the end of the ``with`` block.

    Args:
        name: of the election: one of its candidates leads.
        candidate: how this one is known; default: host and process. It need not be unlike others: it is given a suffix.
        ttl: how long the lead lasts without renewal, in seconds, from 0.3; renewed every third of it. So long may it
            take until a leader that died is followed.
        on_gained: called with the fence number when this candidate leads.
        on_lost: called with it when it leads no more, also because it resigned. Both are called one after the other,
            in a thread of their own: what takes long there holds up no renewal.
        app: a hardened app; default: the current one.

    Raises:
        ConfigError: the app is not hardened.
        ValueError: an argument that makes no sense.
    """
    election = Election(
        app or get_current_app(),
        checked_name(name, "name"),
        new_identity(None if candidate is None else checked_name(candidate, "candidate")),
        checked_s(ttl, "ttl", least=_SHORTEST_S),
        (on_gained, on_lost),
    )
    election.start()
    return election


class Election:
    """One candidate. Any thread may call any method; a daemon thread of this process renews and stands by.

    A forked child has no part in it: there :meth:`is_leader` is false, and :meth:`stop` does nothing.

    Attributes:
        name: of the election.
        candidate: how this one is known.
    """

    def __init__(
        self,
        app: Celery,
        name: str,
        candidate: str,
        ttl_s: float,
        on_change: tuple[Callable[[int], Any] | None, Callable[[int], Any] | None] = (None, None),
    ) -> None:
        self.name = name
        self.candidate = candidate
        self._settings = settings_of(app)
        self._app = app
        self._ttl_s = ttl_s
        self._on_gained, self._on_lost = on_change
        self._pid = os.getpid()
        self._mutex = threading.RLock()  # one question to Redis at a time, and none after the end
        self._over = threading.Event()
        self._changed = threading.Condition()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._calls: queue.SimpleQueue[tuple[Callable[[int], Any], int] | None] = queue.SimpleQueue()
        self._lead = _Lead()

    def start(self) -> None:
        """Begins to stand; once."""
        if self._on_gained is not None or self._on_lost is not None:
            threading.Thread(target=self._tell, name="hardening-election-tell", daemon=True).start()
        threading.Thread(target=self._run, name="hardening-election", daemon=True).start()

    # -- what it knows

    def is_leader(self) -> bool:
        """Whether this candidate leads, by its own clock; asks nobody."""
        return boot_clock_s() < self._lead.until_s and os.getpid() == self._pid

    @property
    def fence(self) -> int:
        """The number of the lead; 0: it does not lead."""
        lead = self._lead
        return lead.fence if boot_clock_s() < lead.until_s and os.getpid() == self._pid else 0

    def must_lead(self) -> int:
        """The fence number, to be written along with what is done in the name of the lead.

        Raises:
            LeadLost: it does not lead.
        """
        fence = self.fence
        if not fence:
            raise LeadLost(self.name, self.candidate)
        return fence

    def wait(self, timeout: float) -> bool:
        """Waits until this candidate leads; returns whether it does.

        Args:
            timeout: how long, in seconds.
        """
        until_s = boot_clock_s() + timeout
        with self._changed:
            while not self.is_leader() and not self._over.is_set() and (left_s := until_s - boot_clock_s()) > 0:
                self._changed.wait(left_s)
        return self.is_leader()

    async def await_lead(self, timeout: float) -> bool:  # noqa: ASYNC109 - as every call of this library has one
        """The same for a coroutine."""
        waiter = asyncio.get_running_loop(), asyncio.Event()
        with self._changed:
            self._waiters.append(waiter)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while not self.is_leader() and not self._over.is_set():
                        await waiter[1].wait()
                        waiter[1].clear()
        finally:
            with self._changed:
                self._waiters.remove(waiter)
        return self.is_leader()

    # -- the end

    def stop(self) -> None:
        """Stands no more; a leader resigns, and another candidate leads at once. Idempotent.

        While Redis is away nothing is raised: the lease then runs out by itself.
        """
        if os.getpid() != self._pid:
            return
        self._over.set()
        with self._mutex:
            token = self._lead.token
            self._become(_Lead(), "resigned")
            if token:
                try:
                    resign_lead(self._settings.keys, self.name, token).run(self._client)
                except (RedisError, OSError) as error:
                    self._not_asked(error)
        self._calls.put(None)
        self._notify()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- its thread

    @property
    def _client(self) -> Any:
        """Waits for a third of the lease, at most: so the lead is given up when it is over, and not long after."""
        return client_of(self._app, patience_s=self._ttl_s / 3)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.run_once()
            except (RedisError, OSError) as error:
                if not self._over.is_set():
                    self._not_asked(error)
                self._over.wait(min(_RETRY_S, self._ttl_s / 6))

    def run_once(self) -> None:
        """One round: takes or renews the lead, then waits for the time to renew it, or for a vacancy.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        with self._mutex:
            if self._over.is_set():
                return
            asked_at_s = boot_clock_s()
            call = elect(self._settings.keys, self.name, self.candidate, round(self._ttl_s * 1000))
            told = Elected.parse(call.run(self._client))
            if told.fence:
                self._become(_Lead(told.token, told.fence, asked_at_s + self._ttl_s), "expired")
            else:
                self._become(_Lead(), "taken")
        if told.fence:
            self._over.wait(self._ttl_s / 3)
        else:
            listen_s = min(told.left_ms / 1000 + _AFTER_S, _LISTEN_S, self._settings.socket_timeout_s / 2)
            client_of(self._app).brpop([self._settings.keys.vacancy(self.name)], timeout=listen_s)

    def _not_asked(self, error: Exception) -> None:
        telemetry.emit(LeadNotAsked(election=self.name, candidate=self.candidate, error=repr(error)))
        with self._mutex:
            if self._lead.fence and not self.is_leader():
                self._become(_Lead(), "expired")

    def _become(self, lead: _Lead, why: str) -> None:
        """Takes note of what it has now; tells if that is news."""
        before, self._lead = self._lead, lead
        if before.fence == lead.fence:
            return
        if before.fence:
            telemetry.emit(LeadEnded(election=self.name, candidate=self.candidate, fence=before.fence, why=why))
            if self._on_lost is not None:
                self._calls.put((self._on_lost, before.fence))
        if lead.fence:
            telemetry.emit(LeadGained(election=self.name, candidate=self.candidate, fence=lead.fence))
            if self._on_gained is not None:
                self._calls.put((self._on_gained, lead.fence))
        self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
            for loop, event in self._waiters:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(event.set)

    def _tell(self) -> None:
        while (call := self._calls.get()) is not None:
            function, fence = call
            try:
                function(fence)
            except Exception as error:  # noqa: BLE001 - the edge: it is the user's
                telemetry.emit(LeadTellFailed(election=self.name, error=repr(error)))
