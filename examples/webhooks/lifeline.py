"""A pipe that ties a process to whoever started it."""

from __future__ import annotations

import os
import signal
import threading

__all__ = ["hold_on"]


def hold_on() -> None:
    """From now on, this process and its whole group end at once when its standard input does.

    The other end is held by the process that started this one, and by no other. So the group ends even
    when its starter gets SIGKILL. To be called by the leader of a process group.
    """
    threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)
