"""How long the messages of a dead worker take to come back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Recoveries"]


class Recoveries:
    """Watches what dead consumers held until it is all back in the queues.

    Args:
        held_by: how many messages a consumer holds.
        clock: seconds.
    """

    def __init__(self, held_by: Callable[[str], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._held_by = held_by
        self._clock = clock
        self._died_at_s: dict[str, float] = {}
        self.slowest_s: float | None = None

    @property
    def pending(self) -> int:
        """How many of the dead still hold something."""
        return len(self._died_at_s)

    def watch(self, consumer: str) -> None:
        """A consumer has just died."""
        self._died_at_s[consumer] = self._clock()

    def poll(self) -> None:
        """Looks who holds nothing any more."""
        for consumer, died_at_s in list(self._died_at_s.items()):
            if not self._held_by(consumer):
                del self._died_at_s[consumer]
                self.slowest_s = max(self.slowest_s or 0.0, self._clock() - died_at_s)
