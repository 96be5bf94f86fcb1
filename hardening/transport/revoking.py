"""What this process holds, has not begun, and somebody wants to cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardening.core.scripts.cancelling import revoke
from hardening.transport.held import tell_released

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.scripts import Scope
    from hardening.transport.book import Book
    from hardening.transport.held import Held

__all__ = ["Revoker"]


class Revoker:
    """Gives up what somebody wants to cancel, and has not been begun. Runs about once a second in the lease's thread.

    Only the process that holds a message knows whether it has begun it: Redis hears of that a moment later. So it is
    asked, and first makes sure, under the book's lock, that the task will not run.

    Guarantees: a message that is cancelled here has not been begun here and will not be.

    Args:
        client: for the thread of the lease.
        scope: how calls sign themselves.
        book: what is held.
    """

    def __init__(self, client: Redis, scope: Scope, book: Book) -> None:
        self._client = client
        self._scope = scope
        self._book = book
        self._owed: list[Held] = []

    def run_once(self) -> int:
        """Gives up what is asked for.

        Returns:
            How many messages were cancelled.

        Raises:
            redis.RedisError: Redis could not be asked; the rest is owed.
        """
        asked_for: Any = self._client.hkeys(self._scope.keys.cancelling) if self._book.waiting else ()
        if asked_for:
            self._owed += self._book.take_away({identity.decode("ascii", "replace") for identity in asked_for})
        cancelled = 0
        while self._owed:
            held = self._owed[0]
            said = int(revoke(self._scope, held.consumer, held.seq).run(self._client))
            del self._owed[0]
            self._book.vacant.note([held])
            held.cancelled = said == 1
            cancelled += held.cancelled
            if said == 0:  # nobody asks any more
                tell_released([held], "requeued")
        return cancelled
