"""The breaker of a process's sends: who waits for a Redis that is away, and who need not.

    closed ── N connection failures in a row ──► open ── its pause is over ──► half open
       ▲                                          ▲                               │
       │                                          └─── the probe failed: ─────────┤
       │                                               the pause doubles          │
       └───────────────────── the probe succeeded ────────────────────────────────┘

Each change begins a new generation, and a result counts only in the generation in which its attempt began, so
that what comes late harms nothing. The idea is that of sony/gobreaker.

Guarantees: a closed breaker costs no lock. Half open, one probe at a time; one that is never heard of
again is replaced after the longest pause. An open breaker answers at once.

Does not guarantee: anything between processes; each finds out for itself. A forked child begins closed, see
:mod:`hardening.delivery.fallback`.

Events: ``hardening.breaker.changed``.
"""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hardening.core import telemetry
from hardening.core.errors import BreakerOpen
from hardening.core.membership import boot_clock_s
from hardening.core.outage import BreakerChanged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Breaker", "BreakerState"]

#: The first pause, and the longest, in seconds.
_PAUSE_S = 1.0
_MAX_PAUSE_S = 30.0
#: How much of a pause is left to chance, so that processes do not probe in step.
_JITTER = 0.2

_UNREACHABLE = (RedisConnectionError, RedisTimeoutError, OSError)


class BreakerState(StrEnum):
    """What a breaker lets through: all, nothing, or one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Counts connection failures, and stops attempts that would only wait.

    Args:
        failures: how many in a row open it.
        clock_s: seconds on any clock that only goes forward.
        chance: a number from 0 to 1 for each pause.
    """

    def __init__(
        self, failures: int, *, clock_s: Callable[[], float] = boot_clock_s, chance: Callable[[], float] = random.random
    ) -> None:
        self._most = failures
        self._clock_s = clock_s
        self._chance = chance
        self._mutex = threading.Lock()
        self._failures = 0
        self._pause_s = _PAUSE_S
        self._until_s = 0.0
        self.state = BreakerState.CLOSED
        self.generation = 0

    def ask(self) -> int:
        """Whether to try. Returns the generation to which the result belongs.

        Raises:
            BreakerOpen: not now.
        """
        return self.generation if self.state is BreakerState.CLOSED else self._probe()

    def succeeded(self, generation: int) -> None:
        """Redis answered."""
        if self.state is BreakerState.CLOSED and not self._failures:
            return
        with self._changing():
            if generation == self.generation and self.state is not BreakerState.OPEN:
                self._failures, self._pause_s = 0, _PAUSE_S
                if self.state is BreakerState.HALF_OPEN:
                    self._become(BreakerState.CLOSED)

    def failed(self, generation: int) -> None:
        """Redis could not be reached."""
        with self._changing():
            if generation != self.generation or self.state is BreakerState.OPEN:
                return
            self._failures += 1
            if self.state is BreakerState.HALF_OPEN:
                self._pause_s = min(_MAX_PAUSE_S, 2 * self._pause_s)
                self._open()
            elif self._failures >= self._most:
                self._open()

    def gave_up(self, generation: int) -> None:
        """It is not known whether Redis can be reached; a probe that gave up leaves its place to the next."""
        with self._changing():
            if generation == self.generation and self.state is BreakerState.HALF_OPEN:
                self._until_s = self._clock_s()
                self._become(BreakerState.OPEN)

    def heard(self) -> None:
        """Redis answered somebody else: an open breaker lets the next one probe."""
        with self._mutex:
            if self.state is BreakerState.OPEN:
                self._until_s = self._clock_s()

    @contextmanager
    def watching(self, generation: int) -> Iterator[None]:
        """Tells the breaker how the block ended; an error that Redis answered means that it is there."""
        try:
            yield
        except _UNREACHABLE:
            self.failed(generation)
            raise
        except RedisError:
            self.succeeded(generation)
            raise
        except BaseException:
            self.gave_up(generation)
            raise
        self.succeeded(generation)

    def _probe(self) -> int:
        """Lets one attempt through when the pause is over, or when the last one has not been heard of again."""
        with self._changing():
            now_s = self._clock_s()
            if self.state is not BreakerState.CLOSED:
                if now_s < self._until_s:
                    is_probed = self.state is BreakerState.HALF_OPEN
                    raise BreakerOpen(self._failures, 0.0 if is_probed else self._until_s - now_s)
                self._until_s = now_s + _MAX_PAUSE_S
                self._become(BreakerState.HALF_OPEN)
            return self.generation

    def _open(self) -> None:
        self._until_s = self._clock_s() + self._pause_s * (1 + _JITTER * self._chance())
        self._become(BreakerState.OPEN)

    def _become(self, state: BreakerState) -> None:
        self.state = state
        self.generation += 1

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, told of when the lock is free again: a subscriber may send, and so ask the breaker."""
        with self._mutex:
            before = self.generation
            yield
            generation, state, pause_s = self.generation, self.state, self._pause_s
        if generation != before:
            pause_s = 0.0 if state is BreakerState.CLOSED else pause_s
            telemetry.emit(BreakerChanged(state=state.value, generation=generation, pause_s=pause_s))
