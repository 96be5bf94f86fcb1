"""Mailboxes from which this process may take again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hardening.transport.held import Held

__all__ = ["Vacant"]


class Vacant:
    """Mailboxes of which a message was settled here, so that the next is to be taken: nobody rings for that.

    Any thread may call.

    Args:
        wake: makes the loop come round, which then takes.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._queues: set[str] = set()

    def note(self, many: Iterable[Held]) -> None:
        """What was settled, or will be by the next flush: a take that comes to Redis before that is refused."""
        if vacant := {held.mailbox for held in many if held.mailbox}:
            self._queues.update(vacant)
            self._wake()

    def pop(self) -> list[str]:
        """What has been noted so far, once. To be called before a flush, so that the acks go first."""
        if not self._queues:
            return []
        vacant = list(self._queues)
        self._queues.difference_update(vacant)
        return vacant

    def put_back(self, queues: Iterable[str]) -> None:
        """They were not taken from after all."""
        self._queues.update(queues)
