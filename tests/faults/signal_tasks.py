"""A task that is told of signals, for the app of fault tests."""

from __future__ import annotations

import os
import threading
from typing import Any

from tests.faults.tasks import _note, app, ledger

__all__ = ["app"]


@app.task(shared=False)
def told(signal: str, payload: Any) -> None:
    """Begins, and ends when the ledger says that the gate is open."""
    _note("began", f"{signal} {payload}")
    while not ledger(os.getpid()).exists(f"{os.environ['FAULTS_PREFIX']}:gate"):
        threading.Event().wait(0.02)
    _note("done", f"{signal} {payload}")
