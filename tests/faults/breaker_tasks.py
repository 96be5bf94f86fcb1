"""The app of fault tests about breakers: its tasks call a service that is sick while the ledger says so."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

from hardening import Breaker
from tests.faults.tasks import app, ledger

if TYPE_CHECKING:
    from celery import Task

__all__ = ["app"]

PREFIX = os.environ["FAULTS_PREFIX"]

service = Breaker(
    "service",
    app=app,
    failure_rate=0.5,
    minimum_calls=4,
    window_s=10,
    open_s=float(os.environ.get("FAULTS_OPEN_S", "1.5")),
    probes=2,
)


@app.task(bind=True, circuit="service")
def call(self: Task[Any, Any], key: str, seconds: float = 0.0) -> None:
    """Calls the service."""
    now_s = time.time()
    redis = ledger(os.getpid())
    redis.hincrby(f"{PREFIX}:began", key, 1)
    redis.hset(f"{PREFIX}:retries", key, self.request.retries)
    redis.hset(f"{PREFIX}:began_at", key, now_s)
    redis.hset(f"{PREFIX}:parents", key, os.getppid())
    if redis.exists(f"{PREFIX}:lethal"):
        os.kill(os.getpid(), signal.SIGKILL)
    if seconds:
        redis.blpop([f"{PREFIX}:hold"], timeout=seconds)
    if redis.exists(f"{PREFIX}:sick"):
        raise ConnectionError("the service is sick")
    redis.hincrby(f"{PREFIX}:done", key, 1)
