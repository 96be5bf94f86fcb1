"""What workers run in the long fault test: tasks that leave a record of each run, and of who ran it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celery.signals import worker_init

from hardening.core.telemetry import log_events
from tests.faults.tasks import app, ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["app"]

_PR_SET_PDEATHSIG = 1


@worker_init.connect
def _prepare(**_: Any) -> None:
    """The worker ends when whoever started it gets SIGKILL, and its log tells what the library does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    log_events()


def _note(run: str, what: str, key: str) -> None:
    """Appends to the record; the worker is known by its session, which its pool's processes share."""
    record = json.dumps([run, what, key, os.getsid(0), time.monotonic()])
    ledger(os.getpid()).rpush(f"{os.environ['FAULTS_PREFIX']}:runs", record)


@contextmanager
def _on_record(key: str) -> Iterator[None]:
    run = uuid.uuid4().hex
    _note(run, "began", key)
    yield
    _note(run, "ended", key)


def _work(seconds: float) -> None:
    if seconds:
        threading.Event().wait(seconds)


@app.task
def run(key: str, seconds: float) -> None:
    """Works."""
    with _on_record(key):
        _work(seconds)


@app.task
def fail(key: str, seconds: float) -> None:
    """Works in vain."""
    with _on_record(key):
        _work(seconds)
    raise ValueError(key)


@app.task
def kill_child(key: str, _seconds: float) -> None:
    """Kills the process it runs in."""
    with _on_record(key):
        os.kill(os.getpid(), signal.SIGKILL)


@app.task
def kill_worker(key: str, _seconds: float) -> None:
    """Kills the whole worker."""
    with _on_record(key):
        os.kill(os.getsid(0), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
