"""The app of fault tests, with a task that says in the ledger when it begins and when it ends, in one list."""

from __future__ import annotations

import os
import threading
from typing import Any

from celery.exceptions import Reject

from tests.faults.tasks import app, ledger

__all__ = ["app", "turn"]


@app.task(bind=True)
def turn(self: Any, number: int, seconds: float = 0.0, how: str = "") -> None:
    """Begins, works, ends: well, by raising, or the first time by giving its message back."""
    queue = self.request.delivery_info["routing_key"]
    _say(queue, f"begin {number} {self.request.hostname}")
    if seconds:
        threading.Event().wait(seconds)
    _say(queue, f"end {number} {self.request.hostname}")
    if how == "fail":
        raise ValueError(number)
    if how == "give back" and ledger(os.getpid()).hincrby(f"{os.environ['FAULTS_PREFIX']}:given", queue, 1) == 1:
        raise Reject("not now", requeue=True)


def _say(queue: str, line: str) -> None:
    ledger(os.getpid()).rpush(f"{os.environ['FAULTS_PREFIX']}:turns:{queue}", line)
