"""One call that a breaker let through."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Passage"]


class Passage(NamedTuple):
    """What is to be given back when the call has ended.

    Attributes:
        generation: of the breaker when it began: its result counts in no other. Below 0: let through by this process
            alone.
        began_s: when, by the monotonic clock.
        probe: the name of its place, if it is a probe.
    """

    generation: int
    began_s: float
    probe: str = ""
