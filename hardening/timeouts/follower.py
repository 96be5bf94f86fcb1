"""Follows what is set for all processes, so that no lookup ever asks Redis."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from hardening.core import telemetry
from hardening.core.deployment import client_of, settings_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.timeouts import SetForAll, read_timeouts
from hardening.core.timeout_rules import name_fault, value_fault
from hardening.timeouts.clock import clock_of
from hardening.timeouts.events import TimeoutsChanged, TimeoutsNotRead
from hardening.timeouts.table import stored

if TYPE_CHECKING:
    from celery import Celery

    from hardening.timeouts.table import Table

__all__ = ["Follower", "stop_followers"]

#: How soon to try again when Redis is away, in seconds.
_AGAIN_S = 0.5
#: How often everything is read, whether or not somebody told of a change; and the clock of Redis with it. In seconds.
_READ_S = 15.0

_AWAY = (RedisError, OperationalError, OSError)
_followers: weakref.WeakSet[Follower] = weakref.WeakSet()


class Follower:
    """Waits for changes in a daemon thread of this process, on a connection of its own.

    It blocks at Redis and asks again when half a socket timeout is over, so it neither polls nor misses a change: a
    change is in force a round trip after it was made. While Redis is away what was read last stays in force. A
    forked child follows by a thread of its own, once it is started there.

    Args:
        app: whose timeouts; not kept alive.
        table: where they go.

    Events: ``hardening.timeouts.changed``, ``.not_read``.
    """

    def __init__(self, app: Celery, table: Table) -> None:
        self._app = weakref.ref(app)
        self._table = table
        self._mutex = threading.Lock()
        self._stopped = threading.Event()
        self._last = "0-0"
        self._read_at_s = 0.0
        self._has_failed = False
        self.is_started = False
        _followers.add(self)

    def start(self) -> None:
        """Starts following in this process. Idempotent."""
        with self._mutex:
            if self.is_started:
                return
            self.is_started = True
            self._stopped = threading.Event()
            self._read_at_s = 0.0
            threading.Thread(target=self._run, args=(self._stopped,), name="hardening-timeouts", daemon=True).start()

    def stop(self) -> None:
        """Ends following, at the latest when half a socket timeout is over. Idempotent."""
        with self._mutex:
            self._stopped.set()
            self.is_started = False

    def run_once(self, block_s: float = 0.0) -> None:
        """Reads what is set if there is a change or it is time, then waits for the next change.

        Args:
            block_s: how long to wait, in seconds; 0: not at all.

        Raises:
            redis.RedisError: Redis is away.
        """
        app = self._app()
        if app is None:
            self._stopped.set()
            return
        client, keys, clock = client_of(app), settings_of(app).keys, clock_of(app)
        del app
        asked_s = boot_clock_s()
        if asked_s >= self._read_at_s:
            found = SetForAll.parse(read_timeouts(keys).run(client))
            clock.learn(found.now_ms, asked_s, boot_clock_s())
            self._last = found.last
            self._read_at_s = asked_s + _READ_S
            self._take_up(found.rules)
        if block_s and client.xread({keys.timeout_changes: self._last}, count=1, block=max(1, int(block_s * 1000))):
            self._read_at_s = 0.0

    def _take_up(self, found: dict[str, str]) -> None:
        rules = {name: stored(value) for name, value in found.items()}
        sound = {name: value for name, value in rules.items() if not (name_fault(name) or value_fault(name, value))}
        if self._table.set_for_all(sound):
            telemetry.emit(TimeoutsChanged(rules=len(sound), ignored=len(rules) - len(sound)))

    def _run(self, stopped: threading.Event) -> None:
        app = self._app()
        block_s = settings_of(app).socket_timeout_s / 2 if app is not None else 0.0
        del app
        while not stopped.is_set():
            try:
                self.run_once(block_s)
                self._has_failed = False
            except _AWAY as error:
                if not self._has_failed:
                    telemetry.emit(TimeoutsNotRead(error=repr(error)))
                self._has_failed = True
                self._read_at_s = 0.0
                stopped.wait(_AGAIN_S)

    def start_anew(self) -> None:
        """In a forked child: no thread came along, and another one of the parent may have held the lock."""
        self._mutex = threading.Lock()
        self.is_started = False
        self._table.renew_lock()


def stop_followers() -> None:
    """Ends all following in this process, for tests."""
    for follower in tuple(_followers):
        follower.stop()


def _start_anew() -> None:
    for follower in tuple(_followers):
        follower.start_anew()


os.register_at_fork(after_in_child=_start_anew)
