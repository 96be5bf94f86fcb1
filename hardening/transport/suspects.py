"""Messages that are one crash away from burial: one of them runs in a process at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hardening.transport.held import Held

__all__ = ["Suspects"]


class Suspects:
    """Which suspect may run.

    When a worker dies, everything it ran is charged, for nobody can tell which task did it. If the same
    messages met again on their last chance, the innocent would be buried beside the poison. Any thread may call.

    Args:
        max_crashes: after how many a message is buried.
    """

    def __init__(self, max_crashes: int) -> None:
        self._from = max(1, max_crashes - 1)
        self._mutex = threading.Lock()
        self._running: Held | None = None

    def may_run(self, held: Held) -> bool:
        """Whether a message may run now: it is no suspect, or the only one here."""
        if held.crashes < self._from:
            return True
        with self._mutex:
            if self._running is not None and self._running is not held:
                return False
            self._running = held
            return True

    def let_go(self, held: Held) -> None:
        """It is not held here any more."""
        if self._running is held:
            self._running = None
