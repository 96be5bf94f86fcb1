"""The one way in which the harness waits for something."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from benchmarks.failure import MeasureFailed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["pause", "until"]


def pause(seconds: float) -> None:
    """Lets time pass."""
    threading.Event().wait(seconds)


def until(predicate: Callable[[], object], what: str, *, timeout_s: float, every_s: float = 0.005) -> None:
    """Asks again and again until the answer is true.

    Args:
        predicate: what is asked.
        what: is waited for, for the message.
        timeout_s: how long to go on, in seconds.
        every_s: how long to wait between two questions, in seconds.

    Raises:
        MeasureFailed: it did not become true.
    """
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() >= deadline:
            raise MeasureFailed(f"waited {timeout_s:g} s in vain for {what}")
        pause(every_s)
