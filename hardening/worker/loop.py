"""Whether the worker's loop comes round, which the renewal of its lease does not show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import bootsteps
from celery.concurrency.solo import TaskPool as SoloPool

from hardening.worker.steps import BookStep

if TYPE_CHECKING:
    from hardening.core.membership import Lease

__all__ = ["LoopStep"]

#: How often the loop says that it has come round, in seconds.
_TURN_S = 1.0


class LoopStep(bootsteps.StartStopStep):
    """Has the worker's loop tell its lease that it turns, for ``celery hardening health`` to see.

    Not that of the solo pool, which is silent for as long as a task takes.
    """

    requires = (BookStep,)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._lease: Lease | None = None
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        """The consumer has a book; after a reconnect it is the same, or another."""
        if issubclass(consumer.controller.pool_cls, SoloPool):
            return
        self._lease = consumer.task_consumer.channel.open_book().lease
        self._lease.turn()
        self._timer = consumer.timer.call_repeatedly(_TURN_S, self._lease.turn)

    def stop(self, consumer: Any) -> None:  # noqa: ARG002 - Celery's signature
        """The connection is lost: the silence begins, and lasts until there is another one."""
        if self._timer is not None:
            self._timer.cancel()

    def shutdown(self, consumer: Any) -> None:
        """The worker stops; what runs may take its time."""
        self.stop(consumer)
        if self._lease is not None:
            self._lease.turn(is_last=True)
