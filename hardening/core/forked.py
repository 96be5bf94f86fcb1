"""Locks that survive a fork."""

from __future__ import annotations

import os
import threading
from typing import Any

__all__ = ["forked_lock"]


def forked_lock() -> threading.Lock:
    """A lock that is free in a forked child, whichever thread of the parent held it; for one of a whole module.

    As the standard library does with its own.
    """
    lock: Any = threading.Lock()
    os.register_at_fork(after_in_child=lock._at_fork_reinit)  # noqa: SLF001 - private, but gevent's have it, too
    return lock  # type: ignore[no-any-return]
