"""Rare calls that Redis has not answered yet, because it was away or refused."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from hardening.core.membership import boot_clock_s

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from redis import Redis

    from hardening.core.scripts import Call

__all__ = ["Owed", "insist"]

#: How soon to try again, in seconds.
_AGAIN_S = 0.1


def _ignore(_reply: int) -> None:
    pass


class Owed:
    """Calls to be repeated until Redis has run them, in order. Each must change nothing when it is run twice.

    Any thread may call any method.

    Args:
        client: replies must not be decoded.
        mutex: held while calls are repeated.
    """

    def __init__(self, client: Redis, mutex: AbstractContextManager[object]) -> None:
        self._client = client
        self._mutex = mutex
        self._calls: deque[tuple[Call, Callable[[int], None]]] = deque()

    def __len__(self) -> int:
        return len(self._calls)

    def append(self, call: Call, then: Callable[[int], None] = _ignore) -> None:
        """Owes one more call; ``then`` is told its reply."""
        self._calls.append((call, then))

    def run(self, call: Call, then: Callable[[int], None] = _ignore) -> int | None:
        """Runs a call now; when that fails, it is owed.

        Returns:
            The reply; None when it is owed.
        """
        try:
            reply = int(call.run(self._client))
        except (RedisError, OSError):
            self.append(call, then)
            return None
        then(reply)
        return reply

    def settle(self) -> None:
        """Runs what is owed.

        Raises:
            redis.RedisError: Redis is still away; what it has not run is still owed.
        """
        with self._mutex:
            while self._calls:
                call, then = self._calls[0]
                reply = int(call.run(self._client))
                self._calls.popleft()
                then(reply)


def insist(attempt: Callable[[], object], *, for_s: float) -> bool:
    """Tries until it succeeds, at least once, as long as Redis is away.

    Args:
        attempt: what to try; it should change nothing when it is repeated.
        for_s: how long to go on, in seconds. No further attempt is made that, if it took as long as the last one,
            would end later than that.

    Returns:
        Whether it succeeded.
    """
    until_s = boot_clock_s() + for_s
    while True:
        tried_at_s = boot_clock_s()
        try:
            attempt()
        except (RedisError, OSError):
            now_s = boot_clock_s()
            if now_s + _AGAIN_S + (now_s - tried_at_s) >= until_s:
                return False
            threading.Event().wait(_AGAIN_S)
        else:
            return True
