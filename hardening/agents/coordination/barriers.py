"""A barrier between processes: parties wait until all have come, then all go on.

    meeting = barrier("load-then-serve", 3, timeout=60)
    meeting.wait()      # in each of three processes, or threads

Like :class:`threading.Barrier`: cyclic, so the same barrier serves again and again, each time as one more generation.
Unlike it, a barrier that broke is whole again at once: whoever comes next begins the next generation.

Guarantees: of one generation either all parties are released, or for all of them it is broken. Who times out, is
interrupted, or dies, breaks it; that a process died, or is frozen, the others know when its lease has run out: within
``lease`` and a third. A party that gives up at the very moment of the release is released.

Does not guarantee: that a party which hears of the release still runs when another does. A party that is frozen for
over a minute after the others were released hears that its barrier is broken (``forgotten``), as does one that cannot
reach Redis from then until its own timeout (``unreachable``).

Events: ``hardening.barrier.failed``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from celery._state import get_current_app
from redis.exceptions import RedisError

from hardening.agents.coordination.errors import BarrierBroken, BarrierMismatch
from hardening.agents.coordination.events import BarrierFailed
from hardening.agents.coordination.names import checked_name, checked_s, new_identity
from hardening.core import telemetry
from hardening.core.deployment import client_of, settings_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.coordinating import Met, meet

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["Barrier", "barrier"]

#: How long what has ended is kept for parties that have not heard of it, in ms.
_KEEP_MS = 60_000
#: How soon to ask again when Redis is away, in seconds.
_RETRY_S = 0.1
_MOST_PARTIES = 10_000


def barrier(name: str, n: int, timeout: float = 30.0, *, lease: float = 3.0, app: Celery | None = None) -> Barrier:
    """A barrier for ``n`` parties; asks Redis nothing before somebody waits.

    Args:
        name: of the barrier, the same for all.
        n: how many parties there are, from 1; the same for all.
        timeout: how long a party waits for the others, in seconds.
        lease: after how many seconds of silence a party is held to be dead, from 0.3; the same for all.
        app: a hardened app; default: the current one.

    Raises:
        ConfigError: the app is not hardened.
        ValueError: an argument that makes no sense.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _MOST_PARTIES:
        raise ValueError(f"n is {n!r}, expected how many parties there are, from 1 to {_MOST_PARTIES}")
    return Barrier(
        app or get_current_app(),
        checked_name(name, "name"), n, checked_s(timeout, "timeout"), checked_s(lease, "lease", least=0.3),
    )  # fmt: skip


class Barrier:
    """Any number of threads of any number of processes may wait; each call of :meth:`wait` is one party.

    Attributes:
        name: of the barrier.
        parties: how many there are.
    """

    def __init__(self, app: Celery, name: str, parties: int, timeout_s: float, lease_s: float) -> None:
        self.name = name
        self.parties = parties
        self._settings = settings_of(app)
        self._app = app
        self._timeout_s = timeout_s
        self._lease_s = lease_s

    def wait(self, timeout: float | None = None) -> int:
        """Waits until all parties have come.

        Args:
            timeout: how long, in seconds; default: the barrier's.

        Returns:
            The number of the generation, the same for all its parties.

        Raises:
            BarrierBroken: not all came and stayed.
            BarrierMismatch: those who wait already expect another number of parties.
            redis.RedisError: Redis could not be asked, so this party has not come.
        """
        timeout_s = self._timeout_s if timeout is None else checked_s(timeout, "timeout")
        party, until_s = new_identity(), boot_clock_s() + timeout_s
        met = self._come(party, until_s)
        if met.outcome == "mismatch":
            raise BarrierMismatch(self.name, self.parties, met.parties)
        try:
            while not met.outcome:
                met = self._wait_on(party, met, until_s)
        except BaseException:
            self._give_up(party, met, "left")
            raise
        if met.outcome != "released":
            self._broke(met)
        return met.generation

    def abort(self) -> None:
        """Breaks the barrier for those who wait now.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        self._ask("", None, why="aborted")

    # -- one party

    def _come(self, party: str, until_s: float) -> Met:
        """Joins; asked again after a lost reply, Redis answers the same."""
        while True:
            try:
                return self._ask(party, None)
            except (RedisError, OSError):
                if boot_clock_s() + _RETRY_S >= until_s:
                    raise
                threading.Event().wait(_RETRY_S)

    def _wait_on(self, party: str, met: Met, until_s: float) -> Met:
        """Listens for a while, then renews; or gives up, when it is time."""
        left_s = until_s - boot_clock_s()
        if left_s <= 0:
            return self._give_up(party, met, "timeout")
        try:
            self._listen(met.generation, min(left_s, self._lease_s / 3))
            return self._ask(party, met.generation)
        except (RedisError, OSError):
            threading.Event().wait(min(_RETRY_S, left_s))
            return met

    def _listen(self, generation: int, for_s: float) -> None:
        """Until the generation is over, for a while at most."""
        block_ms = max(1, round(min(for_s, self._settings.socket_timeout_s / 2) * 1000))
        over: Any = {self._settings.keys.barrier_over(generation, self.name): "0-0"}
        client_of(self._app).xread(over, count=1, block=block_ms)

    def _give_up(self, party: str, met: Met, why: str) -> Met:
        """Breaks it, unless it is over; if Redis cannot be asked, the lease breaks it for the others."""
        try:
            return self._ask(party, met.generation, why=why)
        except (RedisError, OSError):
            return met._replace(outcome="unreachable")

    def _ask(self, party: str, generation: int | None, *, why: str = "") -> Met:
        lease_ms = round(self._lease_s * 1000)
        call = meet(
            self._settings.keys, self.name, party, self.parties, generation=generation,
            lease_ms=lease_ms, keep_ms=_KEEP_MS + lease_ms, why=why,
        )  # fmt: skip
        return Met.parse(call.run(client_of(self._app, patience_s=self._lease_s / 3)))

    def _broke(self, met: Met) -> None:
        telemetry.emit(
            BarrierFailed(
                barrier=self.name, generation=met.generation, came=met.came, parties=self.parties, why=met.outcome
            )
        )
        raise BarrierBroken(self.name, met.generation, met.came, self.parties, met.outcome)
