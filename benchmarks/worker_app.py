"""What ``celery -A benchmarks.worker_app worker`` runs; :mod:`benchmarks.worker` starts it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from celery.signals import worker_init, worker_ready

from benchmarks.app import make_app
from benchmarks.side import Side

app = make_app(os.environ["BENCHMARKS_BROKER"], Side(os.environ["BENCHMARKS_SIDE"]))


@worker_init.connect
def _hold_on(**_: Any) -> None:
    """Ends the whole group when whoever started it ends, even by SIGKILL."""
    threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


@worker_ready.connect
def _say_so(**_: Any) -> None:
    Path(os.environ["BENCHMARKS_READY"]).touch()
