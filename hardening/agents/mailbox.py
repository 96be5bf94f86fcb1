"""How much waits for an agent, and what becomes of what is too much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["Mailbox", "WhenFull"]

#: ``reject``: the sender is told. ``drop_oldest``, ``drop_newest``: one becomes a dead letter. ``block``: the sender
#: waits.
WhenFull = Literal["reject", "drop_oldest", "drop_newest", "block"]
_MOST = 10_000_000


@dataclass(frozen=True, slots=True)
class Mailbox:
    """The bound of a mailbox.

    Attributes:
        bound: how many messages wait at most. What an agent tells itself, and what a spool flushes, goes over it.
        when_full: what becomes of one more.
        block_s: how long a sender waits for room with ``block``, in seconds.
    """

    bound: int = 10_000
    when_full: WhenFull = "reject"
    block_s: float = 5.0

    def __post_init__(self) -> None:
        if isinstance(self.bound, bool) or not isinstance(self.bound, int) or not 0 < self.bound <= _MOST:
            raise ValueError(f"the bound of a mailbox is {self.bound!r}, expected 1 to {_MOST} messages")
        if self.when_full not in get_args(WhenFull):
            raise ValueError(f"when_full is {self.when_full!r}, expected one of {', '.join(get_args(WhenFull))}")
        if not 0 <= self.block_s <= 3600:  # noqa: PLR2004 - an hour
            raise ValueError(f"block_s is {self.block_s!r}, expected 0 to 3600 seconds")
