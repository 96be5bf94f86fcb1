"""Boot steps: how the book follows the life of a Celery worker."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from celery import bootsteps, current_app
from celery.concurrency.solo import TaskPool as SoloPool
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.exceptions import CPendingDeprecationWarning, WorkerShutdown
from celery.signals import worker_process_init
from celery.utils.log import get_logger
from celery.worker import state
from celery.worker.components import Pool
from celery.worker.consumer.tasks import Tasks

from dlq import Reason
from hardening.core.deployment import is_hardened
from hardening.core.errors import ConfigError
from hardening.core.scripts import Death
from hardening.delivery.fallback import fallback_of
from hardening.timeouts.lookup import timeouts_of
from hardening.transport import books
from hardening.worker.children import watch_children
from hardening.worker.places import Places
from hardening.worker.seats import give_back_at_end, guard_pool
from hardening.worker.thread_limits import ThreadLimits

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BeginStep", "BookStep"]

logger = get_logger(__name__)
#: The exit code for a configuration that cannot work (sysexits.h).
EX_CONFIG = 78


@worker_process_init.connect
def _follow(**_: Any) -> None:
    """A pool's process begins: it follows what is set for all processes, so that its first lookup is up to date."""
    if is_hardened(current_app):
        timeouts_of(current_app).follower.start()


class BeginStep(bootsteps.StartStopStep):
    """Marks messages as begun before they are handed to the pool.

    For prefork this is the moment that counts: a child tells its parent that it began only afterwards,
    and a task that kills the parent at once would never be charged. Handing over is bounded by a semaphore of
    the pool's size, so nothing is marked that only waits. The solo pool runs the task inside the hand-over.
    Threads are handed their tasks through :class:`Places`, which does the same. Green threads mark in the thread
    that is about to run the task, for their pool is handed what will wait.
    """

    requires = (Pool,)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        hand_over = worker._process_task
        self._is_bounded = bool(worker.pool_putlocks and worker.pool_cls.uses_semaphore and worker.use_eventloop)
        begins_here = self._is_bounded or issubclass(worker.pool_cls, SoloPool)
        worker.places = None

        def process_task(request: Any) -> None:
            may_run = False
            try:
                may_run = not begins_here or request.begin()
            finally:
                if not may_run and self._is_bounded:
                    worker._quick_release()
            if may_run:
                hand_over(request)

        if worker.use_eventloop and issubclass(worker.pool_cls, ThreadPool):
            worker.places = Places(worker, hand_over)
            worker._process_task = worker.places.add  # Celery makes it process_task
            return
        worker._process_task = process_task
        worker.process_task = worker._process_task_sem if self._is_bounded else process_task

    def create(self, worker: Any) -> None:
        """The pool has been made, and not started."""
        if self._is_bounded:
            guard_pool(worker)

    def start(self, worker: Any) -> None:
        """The pool has been started."""
        watch_children(getattr(worker.pool, "_pool", None))
        if worker.places is not None:
            ThreadLimits(worker.places.lose).guard(worker.pool, worker.app.tasks.values())
            worker.places.watch(worker.pool)
        timeouts_of(worker.app).follower.start()
        if self._is_bounded:
            give_back_at_end(worker.pool, worker.semaphore)


class BookStep(bootsteps.StartStopStep):
    """Tells the book when a connection will be followed by another, and the messages why they die."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        # Celery advises to decide about cancelling tasks on each lost connection, also those who have decided.
        warnings.filterwarnings("ignore", r"\s*In Celery 5.1 we introduced", CPendingDeprecationWarning)
        consumer.on_close = lambda: self._on_close(consumer)
        consumer.blueprint.on_close = consumer.on_close
        consumer.on_unknown_task = _dying(
            consumer.on_unknown_task, 1, lambda message: Death(Reason.UNKNOWN_TASK, _unknown(message))
        )
        for name, at in (("on_unknown_message", 1), ("on_invalid_task", 1), ("on_decode_error", 0)):
            setattr(consumer, name, _dying(getattr(consumer, name), at, None))

    def start(self, consumer: Any) -> None:
        """The consumer has a channel; an event loop, where there is one, flushes for the book from now on."""
        try:
            book = consumer.task_consumer.channel.open_book()
        except ConfigError as error:
            logger.critical("%s", error)
            raise WorkerShutdown(EX_CONFIG) from None
        book.has_loop = consumer.hub is not None
        book.keep = True
        if consumer.controller.places is not None:
            consumer.controller.places.serve(book)
        fallback_of(consumer.app).resume()

    def shutdown(self, consumer: Any) -> None:  # noqa: ARG002 - Celery's signature
        """The worker stops while its connection is broken: what it finished is settled all the same."""
        books.close_kept()

    def _on_close(self, consumer: Any) -> None:
        """A connection is lost, or the worker stops.

        Stock Celery forgets here what it had reserved, because the broker would deliver it again. Ours does
        not: what is here stays here. When the worker stops, what has not been handed to the pool goes back
        at once, and what runs may finish.
        """
        if consumer.blueprint.state == bootsteps.RUN and consumer.controller.blueprint.state == bootsteps.RUN:
            return
        channel = consumer.task_consumer.channel if consumer.task_consumer else None
        book = getattr(channel, "book", None)
        waiting = [request for request in tuple(state.reserved_requests) if request not in state.active_requests]
        _forget_waiting(consumer)
        if book is not None:
            book.has_loop = book.keep = False
            held = [getattr(request._message, "held", None) for request in waiting]
            book.release([one for one in held if one is not None and not one.begun], why="stopping")


def _forget_waiting(consumer: Any) -> None:
    """What ``Consumer.on_close`` does, but the pool keeps what it was handed: that will still finish."""
    if consumer.controller.semaphore is not None:
        consumer.controller.semaphore.clear()
    if consumer.controller.places is not None:
        consumer.controller.places.clear()
    for bucket in consumer.task_buckets.values():
        if bucket:
            bucket.clear_pending()


def _dying(handler: Callable[..., Any], message_at: int, death: Callable[[Any], Death] | None) -> Callable[..., Any]:
    """A handler of Celery's that drops a message, told to say why first."""

    def handle(*args: Any) -> Any:
        message = args[message_at]
        error = args[-1] if isinstance(args[-1], BaseException) else None
        if getattr(message, "death", None) is None:
            message.death = death(message) if death else Death(Reason.UNDECODABLE, f"{type(error).__name__}: {error}")
        return handler(*args)

    return handle


def _unknown(message: Any) -> str:
    return f"no task named {message.headers.get('task')!r} is registered in this worker"
