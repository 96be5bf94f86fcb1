"""Tasks with a boundary, and tasks that run something in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
from urllib.request import urlopen

from hardening.boundaries import isolate
from tests.faults.tasks import app, ledger

__all__ = ["app"]


@app.task(boundary="network", max_retries=5)
def fetch(key: str, url: str) -> None:
    """Asks a server for something, and says when it has it."""
    ledger(os.getpid()).hincrby(f"{os.environ['FAULTS_PREFIX']}:asked", key, 1)
    with urlopen(url, timeout=5) as answer:  # noqa: S310 - the test's own
        ledger(os.getpid()).hset(f"{os.environ['FAULTS_PREFIX']}:done", key, answer.read())


@app.task
def apart(key: str) -> None:
    """Runs a function elsewhere; says what it is itself, and what came of it."""
    answer = isolate("tests.integration.isolated_functions:Nested.double", 21, timeout=30)
    daemon = multiprocessing.current_process().daemon or os.environ["FAULTS_POOL_IS_PROCESS"]
    ledger(os.getpid()).hset(f"{os.environ['FAULTS_PREFIX']}:done", key, f"{daemon} {answer}")


@app.task(time_limit=4, soft_time_limit=2)
def stuck(key: str, pids: str) -> None:
    """Waits for a function elsewhere, longer than it may."""
    ledger(os.getpid()).hincrby(f"{os.environ['FAULTS_PREFIX']}:began", key, 1)
    try:
        isolate("tests.integration.isolated_functions:hang", pids, timeout=600)
    except Exception:  # noqa: BLE001 - a task that does not let itself be stopped softly
        isolate("tests.integration.isolated_functions:hang", f"{pids}.more", timeout=600)
