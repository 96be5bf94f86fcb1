"""Cancellation that somebody below kept to himself."""

from __future__ import annotations

import asyncio

__all__ = ["Heed"]


class Heed:
    """Notices that the running task has been cancelled since, although nothing was raised.

    ``asyncio.wait_for`` up to Python 3.11 returns what it waited for, and forgets the cancellation, if both come in the
    same turn of the event loop (https://github.com/python/cpython/issues/86296). redis-py sends through it: who was
    cancelled then would go on to wait for an answer, for as long as that takes.

    For one coroutine; made before it calls what may keep a cancellation to itself.
    """

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._before = self._count()

    def _count(self) -> int:
        return self._task.cancelling() if self._task is not None else 0

    @property
    def is_cancelled(self) -> bool:
        """Whether a cancellation has come."""
        return self._count() > self._before

    def check(self) -> None:
        """Raises what should have been.

        Raises:
            asyncio.CancelledError: the task was cancelled since this was made.
        """
        if self.is_cancelled:
            raise asyncio.CancelledError
