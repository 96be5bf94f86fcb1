"""Tasks about time, for real workers."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from hardening.timeouts import CallTimeout, call_with_timeout, remaining, timeout_for
from tests.faults.tasks import app, ledger

__all__ = ["app"]

PREFIX = os.environ["FAULTS_PREFIX"]


def note(event: str, key: str, value: object = "") -> None:
    """Tells the ledger: how often, and the last value."""
    client = ledger(os.getpid())
    client.hset(f"{PREFIX}:{event}:value", key, str(value))
    client.hincrby(f"{PREFIX}:{event}", key, 1)


def _spin(until_s: float) -> None:
    while time.monotonic() < until_s:
        pass


@app.task(soft_time_limit=1, time_limit=30)
def spin(key: str) -> None:
    """Runs Python code into its soft limit."""
    note("began", key)
    _spin(time.monotonic() + 60)
    note("done", key)


@app.task(soft_time_limit=1, time_limit=30)
def tidy(key: str) -> str:
    """Heeds its soft limit."""
    try:
        _spin(time.monotonic() + 60)
    except SoftTimeLimitExceeded:
        note("done", key)
    return "tidy"


@app.task(soft_time_limit=1, time_limit=2)
def obstinate(key: str) -> None:
    """Heeds no ``Exception``."""
    note("began", key)
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        try:
            _spin(until_s)
        except Exception:  # noqa: BLE001, S112 - that is what it is for
            continue
    note("done", key)


@app.task(soft_time_limit=1, time_limit=2)
def stuck(key: str) -> None:
    """Waits in C, where no exception gets to it."""
    note("began", key)
    threading.Event().wait(90)
    note("done", key)


@app.task
def look_up(key: str, name: str, seconds: float = 0.0) -> None:
    """Notes what is in force for a name; with seconds, again and again for so long, or until the gate is open."""
    until_s = time.monotonic() + seconds
    note("began", key)
    while True:
        note("timeout", key, timeout_for(name))
        if time.monotonic() >= until_s or ledger(os.getpid()).exists(f"{PREFIX}:gate"):
            return
        threading.Event().wait(0.05)


@app.task
def limits(key: str) -> None:
    """Runs for as long as it is let."""
    began_s = time.monotonic()
    try:
        _spin(began_s + 60)
    except SoftTimeLimitExceeded:
        note("limit", key, time.monotonic() - began_s)


@app.task(bind=True)
def hop(self: Any, key: str, hops: int, timeout_s: float) -> float:
    """Calls itself with more time than there is, and returns what was left in the innermost."""
    left_s = remaining()
    note("left", f"{key} {hops}", left_s)
    note("deadline", f"{key} {hops}", self.request.headers.get("hardening_deadline_ms"))
    if not hops:
        return -1.0 if left_s is None else left_s
    inner: float = call_with_timeout(
        hop, (key, hops - 1, timeout_s), timeout=timeout_s, queue=f"{app.conf.task_default_queue}.{hops - 1}"
    )
    return inner


@app.task
def hop_into_nothing(key: str) -> str:
    """Calls what nobody takes; says how that ended."""
    try:
        call_with_timeout(hop, (key, 0, 0), timeout=60, queue=f"{app.conf.task_default_queue}.nobody")
    except CallTimeout as error:
        return f"{error.state} after {error.timeout_s:.1f}"
    return "came back"
