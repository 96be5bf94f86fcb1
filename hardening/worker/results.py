"""Results of tasks that will never run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from celery import current_app
from celery.app.task import Context
from celery.exceptions import WorkerLostError

from hardening.core import payload as payloads

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["FailBuried", "fail_buried"]


def fail_buried(app: Celery, raw: bytes) -> None:
    """Tells the result backend that a message buried by a sweep has failed, so that nobody waits for it.

    Runs in the lease's thread of whichever worker swept.
    """
    try:
        headers = payloads.load(raw)["headers"]
        task_id = str(headers["id"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    error = WorkerLostError("its worker process died while it ran, once too often: it is in the dead-letter queue")
    app.backend.mark_as_failure(task_id, error, request=Context(headers), store_result=not headers.get("ignore_result"))


class FailBuried:
    """:func:`fail_buried` for one app, to be kept in the app's own configuration.

    That is pickled with the app, so this must not take the app along: a copy in another process, or of another app,
    tells the result backend of the app that is current there.

    Args:
        app: whose result backend is told; default: the current app, at each call.
    """

    def __init__(self, app: Celery | None = None) -> None:
        self._app = app

    def __call__(self, raw: bytes) -> None:
        """Tells of one message, by its raw bytes."""
        fail_buried(self._app or current_app, raw)

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()

    def __json__(self) -> str:
        """What ``celery inspect stats`` shows: the options of the transport, this among them."""
        return type(self).__name__
