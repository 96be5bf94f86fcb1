"""Processes that call a service behind a breaker, as fast as they are told, and what they saw."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from typing import Any

from celery import Celery
from redis import Redis

from hardening import Breaker, CircuitOpen, harden

__all__ = ["RULE"]

#: The rule of the breaker in these processes.
RULE: dict[str, Any] = {"failure_rate": 0.5, "minimum_calls": 20, "window_s": 2.0, "open_s": 1.0, "probes": 2}


def call(service: Redis, prefix: str, chance: random.Random) -> None:
    """The service: it may be sick, so that a part of the calls fails, or kill those who call it, one by each bullet."""
    if service.lpop(f"{prefix}.bullets"):
        service.rpush(f"{prefix}.died", os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)
    if chance.random() < float(service.get(f"{prefix}.sick") or 0):
        raise ConnectionError("sick")


def main() -> None:
    """Calls until it is told to stop; every call, let through or not, is noted with the time of this machine."""
    url, prefix, seed = sys.argv[1:4]
    app = Celery(f"caller-{seed}", broker=url)
    app.conf.update(hardening_prefix=prefix)
    harden(app)
    chance, pause = random.Random(seed), threading.Event()
    service, breaker = Redis.from_url(url), Breaker("service", app=app, **RULE)
    calls: list[float] = []
    refusals: list[float] = []
    with breaker:
        service.rpush(f"{prefix}.ready", os.getpid())
    while not service.exists(f"{prefix}.stop"):
        try:
            with breaker:
                calls.append(time.time())
                call(service, prefix, chance)
        except ConnectionError:
            pass
        except CircuitOpen:
            if not refusals:
                service.sadd(f"{prefix}.refused", os.getpid())
            refusals.append(time.time())
        pause.wait(0.002)
    service.rpush(f"{prefix}.noted", json.dumps([calls, refusals]))


if __name__ == "__main__":
    main()
