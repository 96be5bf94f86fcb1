"""The app of both sides: the same task, plain or hardened."""

from __future__ import annotations

from typing import Any

from celery import Celery

from benchmarks.side import Side

__all__ = ["QUEUE", "make_app", "noop_of"]

QUEUE = "bench"
_NOOP = "benchmarks.noop"


def make_app(broker_url: str, side: Side) -> Celery:
    """An app with a task that does nothing.

    Stock gets the two settings that Celery's documentation recommends for tasks that must not be lost: without
    them it would be faster, and lose whatever a dying worker had taken.

    Args:
        broker_url: of Redis.
        side: whether it is hardened; stock does not import ``hardening``.
    """
    app = Celery("benchmarks", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        worker_prefetch_multiplier=16,
        broker_connection_retry_on_startup=True,
    )
    if side is Side.HARDENED:
        from hardening import harden  # noqa: PLC0415 - stock must not pay for it

        harden(app)
    else:
        app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)

    @app.task(name=_NOOP, shared=False)
    def noop() -> None:
        """Nothing."""

    app.finalize()
    return app


def noop_of(app: Celery) -> Any:
    """The task that does nothing."""
    return app.tasks[_NOOP]
