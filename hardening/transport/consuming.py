"""Telling Redis from which queues this process takes, so that a broadcast can ask for a live consumer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hardening.core.membership import boot_clock_s
from hardening.core.scripts.broadcasting import consume

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

    from hardening.core.keys import Keys
    from hardening.core.membership import Lease

__all__ = ["Consuming"]


class Consuming:
    """What Redis is told of one consumer's queues.

    The event loop's thread changes the queues and tells of it before its next wait; the lease's thread does so again
    about once a second where that failed or the consumer has a new name, and once a lease in any case, for a Redis
    that was replaced may have forgotten.

    Args:
        client: of the consumer's book.
        keys: the deployment's keys.
        lease: of the consumer; what stands under its name goes with it.
        again_s: how often to tell what was told before, in seconds.
    """

    def __init__(self, client: Redis, keys: Keys, lease: Lease, *, again_s: float) -> None:
        self._client = client
        self._keys = keys
        self._lease = lease
        self._again_s = again_s
        self._mutex = threading.Lock()
        self._queues: tuple[str, ...] = ()
        self._told: tuple[str, tuple[str, ...]] = ("", ())
        self._told_at_s = 0.0

    def set(self, queues: Iterable[str]) -> None:
        """From now on it takes from these and no others."""
        self._queues = tuple(queues)

    @property
    def is_told(self) -> bool:
        """Whether Redis knows, as far as this process does."""
        told_as, queues = self._told
        return queues is self._queues and (told_as == self._lease.consumer or not queues)

    def tell(self) -> None:
        """Tells Redis, if it does not know.

        Raises:
            redis.RedisError: Redis is away.
        """
        if self.is_told:
            return
        with self._mutex:
            consumer, queues = self._lease.consumer, self._queues
            if int(consume(self._keys, consumer, queues).run(self._client)) == 1:
                self._told, self._told_at_s = (consumer, queues), boot_clock_s()

    def run_once(self) -> None:
        """A chore of the lease's thread: tells what is new, and now and then what is not.

        Raises:
            redis.RedisError: Redis is away.
        """
        if self._queues and boot_clock_s() - self._told_at_s > self._again_s:
            self._told = ("", ())
        self.tell()
