"""What a breaker that workers share raises. The tree is drawn in :mod:`hardening.core.errors`."""

from __future__ import annotations

from hardening.core.root_error import HardeningError

__all__ = ["CircuitOpen"]


class CircuitOpen(HardeningError):
    """A breaker is open: the call was not made.

    Attributes:
        name: the breaker's.
        retry_in_s: after how many seconds it is worth trying again.
    """

    def __init__(self, name: str, retry_in_s: float) -> None:
        self.name = name
        self.retry_in_s = retry_in_s
        super().__init__(f"the breaker {name!r} is open: the call was not made, try again in {retry_in_s:.1f} s")
