"""Tasks that tell in which error context they run."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

from hardening import breadcrumb, error_context, supervised_send
from hardening.context import carry, current
from tests.faults.tasks import app, ledger

if TYPE_CHECKING:
    from celery import Task

__all__ = ["app"]


def _tell(key: str) -> None:
    here = current()
    told = here and [here.correlation_id, here.operation, here.fields, [crumb.text for crumb in here.breadcrumbs]]
    ledger(os.getpid()).hset(f"{os.environ['FAULTS_PREFIX']}:context", key, json.dumps(told))


@app.task
def tell(key: str, seconds: float = 0.0) -> str:
    """Tells it, before and after some time in which others run."""
    _tell(f"{key} begin")
    breadcrumb(f"{key} waits")
    threading.Event().wait(seconds)
    _tell(f"{key} end")
    return key


@app.task
def then(_before: str, key: str) -> None:
    """What follows another task."""
    _tell(key)


@app.task
def relay(key: str) -> None:
    """Sends on, in all ways, from a block of its own."""
    with error_context("relay", step=2):
        breadcrumb("relaying")
        then.delay("", f"{key} delay")
        supervised_send(then, ("", f"{key} supervised"))
    thread = threading.Thread(target=carry(then.delay), args=("", f"{key} thread"))
    thread.start()
    thread.join(10)


@app.task(bind=True, max_retries=1)
def again(self: Task[Any, Any], key: str) -> None:
    """Runs twice."""
    _tell(f"{key} {self.request.retries}")
    breadcrumb("first time")
    if not self.request.retries:
        raise self.retry(countdown=0.1)


@app.task
def fail(card: str) -> None:
    """Fails, and says what it was doing."""
    with error_context("fail", card=card):
        breadcrumb("about to fail")
        raise ValueError("no luck")
