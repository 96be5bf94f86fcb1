"""Handing tasks to a pool of threads: never more than it can run at once.

Celery gives a pool of threads everything it has taken. What is handed over must have been marked as begun, and what
only waits must not be, for whatever is begun is charged when the process dies. So what waits, waits here, and each
time the loop comes round, all that there is room for is marked in one write, together with the acks of what is done.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from celery.utils import log as celery_log
from celery.worker import state

from hardening.worker.request import begin_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.transport.book import Book

__all__ = ["Places"]

#: Where Celery notes that a signal's handler runs.
_LOG: Any = celery_log


class Places:
    """As many places as the pool has threads.

    The loop's thread calls everything here; the pool's threads only say when a task has ended.

    Args:
        worker: Celery's worker controller; its pool is one of threads.
        hand_over: gives a request to the pool.
    """

    def __init__(self, worker: Any, hand_over: Callable[[Any], None]) -> None:
        self._worker = worker
        self._hand_over = hand_over
        self._book: Book | None = None
        self._waiting: deque[Any] = deque()
        self._ended: deque[object] = deque()
        self._busy = 0

    def watch(self, pool: Any) -> None:
        """Counts what the pool is given, and what ends there; has it stop where nothing can be in its way.

        At a cold shutdown Celery stops the pool inside the signal's handler, which may have interrupted the very
        submission of a task: the executor would wait for a lock that is held further down the same stack, for
        ever; and otherwise the loop would go on to submit to an executor that takes no more. The worker terminates
        the pool a moment later anyway: that is when it stops.
        """
        apply, stop = pool.on_apply, pool.on_stop

        def on_stop() -> None:
            if not _LOG._in_sighandler:
                stop()

        def on_apply(*args: Any, **kwargs: Any) -> Any:
            result = apply(*args, **kwargs)
            self._busy += 1
            result.f.add_done_callback(self._on_end)
            return result

        pool.on_apply, pool.on_stop, pool.on_terminate = on_apply, on_stop, stop

    def serve(self, book: Book) -> None:
        """The consumer has a connection, and a book that asks for more."""
        self._book = book
        book.fill = self.fill
        book.is_told_of_ends = True  # one turn of the loop for the ack and the next begin, not one for each

    def _on_end(self, future: object) -> None:
        self._ended.append(future)
        if self._book is not None:
            self._book.wake()

    def add(self, request: Any) -> None:
        """Has a request run as soon as there is a place."""
        self._waiting.append(request)

    def fill(self) -> None:
        """Begins and hands over what there is room for."""
        while self._ended:
            self._ended.popleft()
            self._busy -= 1
        while self._waiting and (room := self._worker.pool.limit - self._busy) > 0:
            batch = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
            for request, may_run in zip(batch, begin_all(batch), strict=True):
                if may_run and not state.should_terminate:
                    self._hand_over(request)

    def clear(self) -> None:
        """Forgets what waits: it goes back to its queue."""
        self._waiting.clear()
