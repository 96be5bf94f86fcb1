"""The time at Redis, as one process knows it.

Deadlines are compared by processes on different machines, so they are times of Redis. What is kept here is how far that
is from the boot clock, which no one sets; the wall clock of this machine is never asked, as long as Redis has
been in reach once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from hardening.core.deployment import client_of
from hardening.core.membership import boot_clock_s

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["RedisClock", "clock_of"]

_CLOCK = "_hardening_clock"
#: How long to wait for Redis to tell the time for the first time, in seconds.
_PATIENCE_S = 0.5
#: How soon to ask again where it did not, in seconds.
_AGAIN_S = 1.0


class RedisClock:
    """How far Redis' time is from this machine's boot clock. Any thread, and a forked child, may use it.

    Does not guarantee: more than half a round trip's accuracy. Where Redis has never been in reach, it takes this
    machine's wall clock for right, and goes on asking.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._offset_s: float | None = None
        self._ask_at_s = 0.0

    def learn(self, now_ms: int, asked_s: float, answered_s: float) -> None:
        """Takes down what Redis said.

        Args:
            now_ms: its time.
            asked_s: when it was asked, by the boot clock.
            answered_s: when it had answered.
        """
        self._offset_s = now_ms / 1000 - (asked_s + answered_s) / 2

    def prepare(self) -> None:
        """Asks Redis, if it has not been in reach yet; waits at most half a second, and at most once a second."""
        asked_s = boot_clock_s()
        if self._offset_s is not None or asked_s < self._ask_at_s:
            return
        self._ask_at_s = asked_s + _AGAIN_S
        try:
            seconds, micros = client_of(self._app, patience_s=_PATIENCE_S).time()
        except (RedisError, OperationalError, OSError):
            return
        self.learn(seconds * 1000 + micros // 1000, asked_s, boot_clock_s())

    def now_ms(self) -> int:
        """The time at Redis, ms since the epoch. Asks nobody."""
        if self._offset_s is None:
            return int(time.time() * 1000)
        return int((boot_clock_s() + self._offset_s) * 1000)


def clock_of(app: Celery) -> RedisClock:
    """The clock of a hardened app in this process."""
    clock: RedisClock | None = vars(app).get(_CLOCK)
    if clock is None:
        clock = vars(app).setdefault(_CLOCK, RedisClock(app))
    return clock
