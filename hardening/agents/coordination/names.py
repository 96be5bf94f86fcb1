"""Names and times that users give, checked where they come in."""

from __future__ import annotations

import os
import socket
import uuid

__all__ = ["checked_name", "checked_s", "new_identity"]

_LONGEST = 200
_MOST_S = 31_536_000.0


def checked_name(name: str, what: str) -> str:
    """A name, as it was given.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST or not name.isprintable() or name != name.strip():
        raise ValueError(f"{what} is {name!r}, expected a name of 1 to {_LONGEST} printable characters")
    return name


def checked_s(seconds: float, what: str, *, least: float = 0.0) -> float:
    """A time in seconds, as it was given.

    Raises:
        ValueError: it makes no sense.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not least <= seconds <= _MOST_S:
        raise ValueError(f"{what} is {seconds!r}, expected seconds, from {least:g} to {_MOST_S:.0f}")
    return float(seconds)


def new_identity(label: str | None = None) -> str:
    """What no other process, thread or call ever is called."""
    return f"{label or f'{socket.gethostname()}:{os.getpid()}'}:{uuid.uuid4().hex[:12]}"
