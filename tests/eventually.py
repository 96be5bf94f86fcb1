"""The one way in which tests wait."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["eventually"]

T = TypeVar("T")


def eventually(predicate: Callable[[], T], timeout_s: float = 10.0) -> T:
    """Asks again and again until the answer is true, and returns it.

    Args:
        predicate: what is asked; it should be quick.
        timeout_s: how long to go on, in seconds.

    Raises:
        AssertionError: the answer was still not true; the last one is told.
    """
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (answer := predicate()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"still {answer!r} after {timeout_s:g} s")
        pause.wait(0.01)
    return answer
