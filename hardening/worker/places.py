"""Handing tasks to a pool of threads: never more than it can run at once.

Celery gives a pool of threads everything it has taken. What is handed over must have been marked as begun, and what
only waits must not be, for whatever is begun is charged when the process dies. So what waits, waits here, and each
time the loop comes round, all that there is room for is marked in one write, together with the acks of what is done.

A thread that does not end after its task's hard time limit is given up, and another takes its place. When as many are
given up as the pool has places, something is wrong that a new process may not have: the worker stops warm, with exit
code 75, for whoever supervises it to start another. Where threads are given up, the process ends without them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from celery.utils import log as celery_log
from celery.utils.log import get_logger
from celery.worker import state

from hardening.worker.request import begin_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from hardening.transport.book import Book

__all__ = ["Places"]

#: Where Celery notes that a signal's handler runs.
_LOG: Any = celery_log
logger = get_logger(__name__)
#: The exit code for what another process may do better (sysexits.h).
EX_TEMPFAIL = 75
#: How often to look whether a thread has ended, in seconds, and how long the process may take to its last step.
_LOOK_S, _LAST_STEPS_S = 0.1, 10.0


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
        self._lost: deque[Future[Any]] = deque()
        self._lost_threads: set[int] = set()
        self._given_up: set[object] = set()
        self._busy = 0

    def watch(self, pool: Any) -> None:
        """Counts what the pool is given, and what ends there; has it stop where nothing can be in its way.

        At a cold shutdown Celery stops the pool inside the signal's handler, which may have interrupted the very
        submission of a task: the executor would wait for a lock that is held further down the same stack, for
        ever; and otherwise the loop would go on to submit to an executor that takes no more. The worker terminates
        the pool a moment later anyway: that is when it stops.
        """
        apply = pool.on_apply

        def stop() -> None:
            self._stop(pool.executor)

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
            self._end(self._ended.popleft())
        while self._lost:
            self._give_up(self._lost.popleft())
        while self._waiting and (room := self._worker.pool.limit - self._busy) > 0:
            batch = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
            for request, may_run in zip(batch, begin_all(batch), strict=True):
                if may_run and not state.should_terminate:
                    self._hand_over(request)

    def clear(self) -> None:
        """Forgets what waits: it goes back to its queue."""
        self._waiting.clear()

    # -- threads that do not end

    def lose(self, future: Future[Any], thread: int) -> None:
        """The thread of a task is to be given up; called in any thread."""
        self._lost_threads.add(thread)
        future.add_done_callback(lambda _: self._lost_threads.discard(thread))
        self._lost.append(future)
        if self._book is not None:
            self._book.wake()

    def _end(self, future: object) -> None:
        if future in self._given_up:
            self._given_up.discard(future)
            self._worker.pool.executor._max_workers -= 1
        else:
            self._busy -= 1

    def _give_up(self, future: Future[Any]) -> None:
        if future.done():
            return
        self._given_up.add(future)
        self._busy -= 1
        self._worker.pool.executor._max_workers += 1
        if len(self._given_up) >= self._worker.pool.limit and state.should_stop is None:
            logger.critical("as many threads are lost as there are places: this worker stops, start another")
            state.should_stop = EX_TEMPFAIL

    def _stop(self, executor: Any) -> None:
        """Waits for all threads but those that were given up; then nobody waits for these."""
        executor.shutdown(wait=False, cancel_futures=True)
        for thread in tuple(executor._threads):
            while thread.is_alive() and thread.ident not in self._lost_threads:
                thread.join(_LOOK_S)
        if self._lost_threads:
            threading.Thread(target=self._leave, name="hardening-leave", daemon=True).start()

    def _leave(self) -> None:
        """Ends the process once it waits for nothing but its threads: Python would wait for the lost ones, too."""
        pause = threading.Event()
        self._worker.blueprint.shutdown_complete.wait(_LAST_STEPS_S)
        for _ in range(int(_LAST_STEPS_S / _LOOK_S)):
            if not self._lost_threads or vars(threading).get("_SHUTTING_DOWN", True):
                break
            pause.wait(_LOOK_S)
        pause.wait(_LOOK_S)
        if self._lost_threads:
            logger.critical("%d lost thread(s) still run: the process ends without them", len(self._lost_threads))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self._worker.exitcode or 0)
