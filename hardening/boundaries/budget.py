"""How many retries a process may make in all, so that they do not multiply an outage.

A token bucket, as in Finagle's ``RetryBudget`` (twitter.github.io/finagle, "Retries"): each call deposits a part of a
token, each retry withdraws a whole one. While all goes well the bucket is full; when everything fails, one call in ten
is tried again, instead of each one five times. See also "Handling Overload" in Google's *Site Reliability
Engineering*, chapter 21, which has the same ratio.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RetryBudget", "process_budget"]

_budgets: WeakSet[RetryBudget] = WeakSet()


class RetryBudget:
    """A token bucket. Any thread may use it; a forked child goes on with what its parent had.

    Guarantees: retries are at most ``reserve + share * calls + per_s * seconds``, whatever happens.

    Args:
        share: how much of a retry each call allows.
        reserve: how many retries there are to begin with, and at most put by: for processes that call rarely.
        per_s: how many retries a second there are besides.
        clock: seconds that never go back.

    Raises:
        ValueError: one of them makes no sense.
    """

    def __init__(
        self,
        share: float = 0.1,
        *,
        reserve: float = 10.0,
        per_s: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value in (("share", share), ("reserve", reserve), ("per_s", per_s)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value!r}, expected 0 or more")
        self._share, self._reserve, self._per_s = share, reserve, per_s
        self._clock = clock
        self._tokens, self._at_s = reserve, clock()
        self._lock = threading.Lock()
        _budgets.add(self)

    def deposit(self) -> None:
        """Counts a call; not one that is a retry."""
        with self._lock:
            self._tokens = min(self._reserve, self._tokens + self._share)

    def withdraw(self) -> bool:
        """Asks for a retry; returns whether it may be made."""
        with self._lock:
            now_s = self._clock()
            gained = max(0.0, now_s - self._at_s) * self._per_s
            self._tokens, self._at_s = min(self._reserve, self._tokens + gained), now_s
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def after_fork(self) -> None:
        """In a child: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()


#: What all strategies of this process share unless they are given another.
_process = RetryBudget()


def process_budget() -> RetryBudget:
    """The budget of this process."""
    return _process


def _after_fork() -> None:
    for budget in tuple(_budgets):
        budget.after_fork()


os.register_at_fork(after_in_child=_after_fork)
