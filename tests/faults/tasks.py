"""The app that fault tests run in real workers; the ledger is a second Redis that knows nothing of the first."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import ssl
import threading
from functools import cache
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject
from redis import Redis
from redis.connection import AbstractConnection

from hardening import harden, supervised_send
from tests.faults.broker_options import broker_options

app = Celery("faults", broker=os.environ["FAULTS_BROKER"])
app.conf.update(
    task_default_queue=os.environ["FAULTS_QUEUE"],
    task_ignore_result=not os.environ.get("FAULTS_RESULTS"),
    result_backend=os.environ["FAULTS_BROKER"] if os.environ.get("FAULTS_RESULTS") else None,
    worker_prefetch_multiplier=int(os.environ["FAULTS_PREFETCH"]),
    worker_direct=bool(os.environ.get("FAULTS_DIRECT")),
    worker_max_tasks_per_child=int(os.environ.get("FAULTS_MAX_TASKS_PER_CHILD", "0")) or None,
    **broker_options(os.environ.get("FAULTS_AUTHORITY", "")),
    worker_soft_shutdown_timeout=float(os.environ.get("FAULTS_SOFT_SHUTDOWN", "0")),
)
if os.environ.get("FAULTS_STOCK"):
    app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)
else:
    app.conf.update(
        hardening_prefix=os.environ["FAULTS_PREFIX"],
        hardening_lease_ttl_s=float(os.environ.get("FAULTS_LEASE_S", "2")),
        hardening_poll_interval_s=float(os.environ.get("FAULTS_POLL_S", "0.5")),
        hardening_crash_delay_s=float(os.environ.get("FAULTS_CRASH_DELAY_S", "0.5")),
        hardening_max_crashes=int(os.environ.get("FAULTS_MAX_CRASHES", "3")),
        hardening_socket_timeout_s=float(os.environ.get("FAULTS_SOCKET_S", "3")),
        hardening_dlq_retry={"default": {"attempts": 0}},  # what is dead stays, to be looked at
    )
    harden(app)


@cache
def ledger(_pid: int) -> Redis:
    """This process's client of the ledger."""
    return Redis.from_url(os.environ["FAULTS_LEDGER"])


def _note(event: str, key: str) -> None:
    ledger(os.getpid()).hincrby(f"{os.environ['FAULTS_PREFIX']}:{event}", key, 1)


@app.task
def work(key: str, seconds: float = 0.0) -> None:
    """Says that it began, works, says that it is done."""
    _note("began", key)
    if seconds:
        threading.Event().wait(seconds)
    _note("done", key)


@app.task
def gated(key: str) -> None:
    """Begins, and ends when the ledger says that the gate is open."""
    _note("began", key)
    while not ledger(os.getpid()).exists(f"{os.environ['FAULTS_PREFIX']}:gate"):
        threading.Event().wait(0.02)
    _note("done", key)


@app.task
def sockets(key: str) -> None:
    """Publishes both ways, then says what this process's connections to the broker and its Sentinels are like."""
    work.delay(f"{key} plain")
    supervised_send(work, (f"{key} supervised",))
    own = ledger(os.getpid()).connection_pool.connection_kwargs
    every = [one for one in gc.get_objects() if issubclass(type(one), AbstractConnection) and one._sock is not None]
    told = [_like(one) for one in every if getattr(one, "port", None) != own["port"]]
    ledger(os.getpid()).hset(f"{os.environ['FAULTS_PREFIX']}:sockets", key, json.dumps(told))
    _note("done", key)


def _like(connection: AbstractConnection) -> dict[str, Any]:
    sock: Any = connection._sock
    return {
        "family": sock.family.name,
        "is_tls": isinstance(sock, ssl.SSLSocket),
        "timeout_s": sock.gettimeout(),
        "connect_timeout_s": getattr(connection, "socket_connect_timeout", None),
        "is_kept_alive": bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
        "health_check_s": connection.health_check_interval,
        "name": connection.client_name,
    }


@app.task
def timed(key: str) -> None:
    """Says when it ran, by the broker's own clock."""
    seconds, micros = Redis.from_url(os.environ["FAULTS_CLOCK"]).time()
    ledger(os.getpid()).hset(f"{os.environ['FAULTS_PREFIX']}:ran_at", key, seconds * 1000 + micros // 1000)
    _note("began", key)
    _note("done", key)


@app.task
def kill_child(key: str) -> None:
    """Kills the process it runs in."""
    _note("began", key)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def kill_worker(key: str) -> None:
    """Kills the whole worker, first thing."""
    _note("began", key)
    parent = int(os.environ.get("FAULTS_POOL_IS_PROCESS", "0")) and os.getppid()
    os.kill(parent or os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def add(left: int, right: int) -> int:
    """Adds."""
    return left + right


@app.task
def total(numbers: list[int]) -> int:
    """Adds up."""
    return sum(numbers)


@app.task(bind=True, max_retries=5)
def flaky(self: Task[Any, Any], key: str, fails: int) -> str:
    """Asks for a retry a few times."""
    _note("began", f"{key}{self.request.retries}")
    if self.request.retries < fails:
        raise self.retry(countdown=0.2)
    return "third time"


@app.task
def fail(_key: str) -> None:
    """Raises."""
    raise ValueError("no luck")


@app.task(dead_letter=False)
def fail_unkept(_key: str) -> None:
    """Raises, and nobody wants to know."""
    raise ValueError("never mind")


@app.task(dead_letter=False)
def kill_child_unkept(key: str) -> None:
    """Kills the process it runs in, which somebody should know."""
    _note("began", key)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def reject(_key: str) -> None:
    """Rejects its message."""
    raise Reject("not for me", requeue=False)


@app.task(time_limit=1)
def hang(_key: str) -> None:
    """Runs into its hard time limit."""
    threading.Event().wait(60)


@app.task(acks_late=False)
def once_only(key: str, seconds: float) -> None:
    """Is acknowledged when it begins."""
    _note("began", key)
    threading.Event().wait(seconds)


@app.task(acks_late=False)
def fail_once_only(_key: str) -> None:
    """Is acknowledged when it begins, and raises."""
    raise ValueError("no luck either")
