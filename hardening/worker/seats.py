"""A bug of Celery 5.7's prefork pool, worked round: who may be handed to it, and when there is room again.

The worker hands over no more tasks than the pool has processes, and counts them with a semaphore. Billiard's pool
gives back one seat for each child that has exited, whether or not that child took a task along: one that was
idle, was recycled after ``worker_max_tasks_per_child``, or whose task is put back for another child, gives back a
seat that nobody had taken. Under a backlog each such exit lets one task more than before into the pool, for good:
it is begun, and charged if the worker dies, while it only waits. And kombu's semaphore lets a pool that grows, or
shrinks while it is busy, hold more than its new size.

Here a seat belongs to one task, and is given back when that task ends, however it does. By then the task is settled
in the book, so the begin mark of the next one goes to Redis with the ack of the last, never before it.

``tests/unit/test_kombu_contract.py`` notices when it is mended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu.asynchronous.semaphore import LaxBoundedSemaphore

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Seats", "give_back_at_end", "guard_pool"]


class Seats(LaxBoundedSemaphore):
    """Room for as many tasks as the pool has processes.

    Only the thread of the worker's event loop uses it, in the parent process.

    Attributes:
        debt: how many tasks there are beyond a pool that shrank while it was busy.
    """

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.debt = 0

    def release(self) -> None:
        """What billiard calls, too often: nothing."""

    def give_back(self) -> None:
        """A task has ended: the first that waits is handed over."""
        if self.debt:
            self.debt -= 1
        else:
            super().release()

    def grow(self, n: int = 1) -> None:
        """Room for more tasks."""
        self.initial_value += n
        for _ in range(n):
            self.give_back()

    def shrink(self, n: int = 1) -> None:
        """Room for fewer tasks; those that are too many are not replaced when they end."""
        n = min(n, self.initial_value)
        free = min(n, self.value)
        self.initial_value -= n
        self.value -= free
        self.debt += n - free

    def clear(self) -> None:
        """The pool closes: nothing is handed over any more."""
        super().clear()
        self.debt = 0


def guard_pool(worker: Any) -> None:
    """Has a worker count by :class:`Seats` what it hands to its pool; before the pool is started.

    Args:
        worker: a ``WorkController`` whose pool was made with a semaphore.
    """
    seats = Seats(worker.semaphore.initial_value)
    worker.semaphore = worker.pool.options["semaphore"] = seats
    worker._quick_acquire, worker._quick_release = seats.acquire, seats.give_back


def give_back_at_end(pool: Any, seats: Seats) -> None:
    """Has a started pool give back the seat of each task that ends; see :func:`guard_pool`.

    Args:
        pool: a ``TaskPool`` of Celery's. Its jobs end by exactly one of two callbacks.
        seats: what its tasks are counted by.
    """
    apply = pool.on_apply

    def on_apply(
        target: Any,
        args: Any,
        kwargs: Any,
        *,
        callback: Callable[..., Any] | None = None,
        error_callback: Callable[..., Any] | None = None,
        **options: Any,
    ) -> Any:
        is_over = False

        def give_back() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                seats.give_back()

        def on_success(result: Any) -> None:
            try:
                if callback is not None:
                    callback(result)
            finally:
                give_back()

        def on_error(error: Any) -> None:
            try:
                if error_callback is not None:
                    error_callback(error)
            finally:
                give_back()

        try:
            return apply(target, args, kwargs, callback=on_success, error_callback=on_error, **options)
        except BaseException:
            give_back()
            raise

    pool.on_apply = on_apply
