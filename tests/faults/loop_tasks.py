"""A task whose very arrival stops the loop of its worker, as a bug in a signal handler does."""

from __future__ import annotations

import threading
from typing import Any

from celery.signals import task_received

from tests.faults.tasks import app

__all__ = ["app"]


@app.task
def stop_the_loop() -> None:
    """Never begins."""


@task_received.connect
def _stop(request: Any, **_: Any) -> None:
    if request.name == stop_the_loop.name:
        threading.Event().wait(60)
