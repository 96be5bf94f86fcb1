"""The app of fault tests, with a task that says in the ledger when it begins and when it ends, in one list."""

from __future__ import annotations

import os
import threading
from typing import Any

from tests.faults.tasks import app, ledger

__all__ = ["app", "turn"]


@app.task(bind=True)
def turn(self: Any, number: int, seconds: float = 0.0) -> None:
    """Begins, works, ends."""
    _say(f"begin {number} {self.request.hostname}")
    if seconds:
        threading.Event().wait(seconds)
    _say(f"end {number} {self.request.hostname}")


def _say(line: str) -> None:
    ledger(os.getpid()).rpush(f"{os.environ['FAULTS_PREFIX']}:turns", line)
