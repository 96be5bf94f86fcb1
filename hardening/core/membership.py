"""Who is alive: one lease for each consumer, renewed by a thread of its own.

A task that blocks the worker's main loop does not stop the thread, so a busy worker is never taken for a dead
one. A frozen process stops it, and a process that is cut off cannot renew; both learn of it by the clock
*before* they begin anything new (:meth:`Lease.is_held`), and from Redis at the next renewal.

Guarantees: after :meth:`Lease.is_held` said yes, nobody has taken the messages of this consumer away, as
long as a message takes less than a third of the lease from there to its begin mark. A consumer that
Redis declared dead never uses that name again.

Does not guarantee: that work already begun stops when the lease is lost; Python threads cannot be stopped.

Events: ``hardening.consumer.joined``, ``.reaped``, ``.left``, ``hardening.lease.renew_failed``,
``hardening.chore.failed``.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from hardening.core import telemetry
from hardening.core.scripts import calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from hardening.core.keys import Keys

__all__ = ["Lease", "boot_clock_s"]

#: What a renewal answers where there are monitors.
_AND_MONITORS = 2
#: How soon to try again when a renewal failed, in seconds.
_RETRY_S = 0.25


def boot_clock_s() -> float:
    """Seconds on a clock that goes on while the process, or the machine, is frozen."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The lease of one consumer, and its renewer.

    Runs a daemon thread in the process that called :meth:`start`; never crosses a fork.

    Args:
        client: a client of the lease's own, with short socket timeouts.
        keys: the deployment's keys.
        ttl_s: how long the lease lasts without renewal, in seconds.
        on_reaped: called in the thread that found out, with the lost name, after the new one is set.
        on_beat: called in the renewer's thread about once a second; its Redis errors count as a
            failed beat, its other errors are told and cost nothing.
    """

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        ttl_s: float,
        on_reaped: Callable[[str], None],
        on_beat: Callable[[], None],
    ) -> None:
        self._client = client
        self._keys = keys
        self._ttl_s = ttl_s
        self._on_reaped = on_reaped
        self._on_beat = on_beat
        self._mutex = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._held_until_s = 0.0
        self._steady_since_s = 0.0
        self._turned_s = 0.0
        self._joined = False
        self._is_spent = False
        self.consumer = _new_name()
        #: The name that Celery gives the worker, by which it may be monitored; empty: it is none.
        self.node = ""
        #: Whether there are monitors in this deployment, as of the last renewal.
        self.are_monitors = False

    def start(self) -> None:
        """Takes the lease and starts renewing it, under a new name if it was stopped. Idempotent.

        Raises:
            redis.RedisError: the first renewal failed.
        """
        with self._mutex:
            if self._thread is not None:
                return
            if self._is_spent:
                self.consumer, self._joined, self._is_spent = _new_name(), False, False
            self.renew()
            uptime_s = float(self._client.info("server")["uptime_in_seconds"])
            self._steady_since_s = boot_clock_s() - uptime_s
            self._wake.clear()
            self._thread = threading.Thread(target=self._run, name="hardening-lease", daemon=True)
            self._thread.start()

    def stop(self, *, leave: bool = True) -> None:
        """Ends the lease; what the consumer still holds becomes free to recover. Idempotent.

        Args:
            leave: tell Redis. False where that is known to be away: the lease then runs out by itself.
        """
        with self._mutex:
            thread, self._thread = self._thread, None
            self._held_until_s = 0.0
        if thread is None:
            return
        self._is_spent = True
        self._wake.set()
        if not leave:
            return
        if thread is not threading.current_thread():
            thread.join(self._ttl_s)
        try:
            left = int(calls.leave(self._keys, self.consumer).run(self._client))
        except RedisError as error:
            telemetry.emit(telemetry.LeaseRenewFailed(consumer=self.consumer, error=repr(error)))
            return
        telemetry.emit(telemetry.ConsumerLeft(consumer=self.consumer, left_behind=left))

    def is_held(self) -> bool:
        """Whether this process may begin work: the lease has not run out by its own clock."""
        return boot_clock_s() < self._held_until_s

    def is_steady(self) -> bool:
        """Whether Redis has been up and in reach for a whole lease.

        Before that, a lease that has run out does not mean that its holder is dead: it may only not
        have come back from the same outage yet, so nobody is declared dead.
        """
        return boot_clock_s() - self._steady_since_s >= self._ttl_s

    def renew(self) -> bool:
        """Renews once; takes a new name when the old one was taken away.

        A lease that ran out but was not taken away is renewed: its messages are all still there.

        Returns:
            Whether the name is still the same.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        with self._mutex:
            asked_at_s = boot_clock_s()
            if not self._ask(join=not self._joined):
                return self._start_anew()
            self._held_until_s = asked_at_s + self._ttl_s
            if not self._joined:
                self._joined = True
                telemetry.emit(telemetry.ConsumerJoined(consumer=self.consumer))
            return True

    def turn(self, *, is_last: bool = False) -> None:
        """The loop that takes messages has come round; called there, about once a second.

        The renewer tells Redis for how long it has not, since the renewer itself goes on when the loop hangs.

        Args:
            is_last: nobody is to expect another one, and nothing is told any more.
        """
        self._turned_s = 0.0 if is_last else boot_clock_s()

    def _ask(self, *, join: bool) -> bool:
        said: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid()}
        if self.node:
            said["node"] = self.node
        if turned_s := self._turned_s:  # while Redis is away, there is nothing to come round for
            silent_s = boot_clock_s() - max(turned_s, self._steady_since_s)
            said["silent_ms"] = max(0, int(silent_s * 1000))
        ttl_ms, about = int(self._ttl_s * 1000), json.dumps(said)
        call = calls.renew(self._keys, self.consumer, ttl_ms, join=join, about=about, node=self.node)
        answer = int(call.run(self._client))
        self.are_monitors = answer == _AND_MONITORS
        return answer > 0

    def _start_anew(self) -> bool:
        lost, self.consumer = self.consumer, _new_name()
        self._joined, self._held_until_s = False, 0.0
        self._on_reaped(lost)
        self.renew()
        return False

    def _run(self) -> None:
        renew_at_s = boot_clock_s() + self._ttl_s / 3
        wait_s = _RETRY_S
        while not self._wake.wait(wait_s):
            try:
                if boot_clock_s() >= renew_at_s:
                    self.renew()
                    renew_at_s = boot_clock_s() + self._ttl_s / 3
                self._on_beat()
                wait_s = min(1.0, self._ttl_s / 6)
            except RedisError as error:
                telemetry.emit(telemetry.LeaseRenewFailed(consumer=self.consumer, error=repr(error)))
                renew_at_s, wait_s = 0.0, _RETRY_S
                self._steady_since_s = boot_clock_s() + _RETRY_S
            except Exception as error:  # noqa: BLE001 - the edge: a chore's fault must not cost the lease
                telemetry.emit(telemetry.ChoreFailed(consumer=self.consumer, error=repr(error)))
                wait_s = min(1.0, self._ttl_s / 6)


def _new_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
