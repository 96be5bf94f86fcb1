"""Which processor a child and its server run on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self

__all__ = ["Placement"]


@dataclass(frozen=True, slots=True)
class Placement:
    """One processor for a server and another one for its only client.

    Left to the scheduler they share a processor or not, as it happens. A client that waits for each reply is then
    up to four times as fast or as slow, for waking another processor takes longer than Redis does, whatever the
    code does. Apart is the slower of the two and hides differences between the sides rather than showing more
    than there are; it is also nearer to a broker on another machine.

    Attributes:
        server: number of the server's processor.
        child: number of the client's.
    """

    server: int
    child: int

    @classmethod
    def apart(cls) -> Self | None:
        """On the first two processors that this process may use; None: there are none, or no way to say so."""
        if not hasattr(os, "sched_getaffinity"):
            return None
        mine = sorted(os.sched_getaffinity(0))
        return cls(mine[0], mine[1]) if len(mine) > 1 else None

    @staticmethod
    def hold(pid: int, processor: int) -> None:
        """Keeps a process, 0 for this one, on one processor; threads it starts later, too."""
        os.sched_setaffinity(pid, {processor})
