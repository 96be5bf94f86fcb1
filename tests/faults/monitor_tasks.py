"""Tasks that monitor, and one by which downs are told; for the app of fault tests."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from hardening import monitor
from tests.faults.tasks import _note, app, ledger

__all__ = ["app"]


@app.task
def hear(down: dict[str, Any]) -> None:
    """Is told of a down."""
    _note("heard", f"{down['tag']} {down['reason']}")


@app.task(time_limit=2)
def watch(key: str, target: str, end: str) -> None:
    """Monitors a target, says so, and ends in one of several ways when the gate is open."""
    monitor(target, key, app=app)
    _note("began", key)
    while not ledger(os.getpid()).exists(f"{os.environ['FAULTS_PREFIX']}:gate:{end}"):
        threading.Event().wait(0.02)
    if end == "raise":
        raise ValueError("as was asked")
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "hang":
        threading.Event().wait(60)
