"""The Celery app: one task that delivers one event. This is all that an application would write."""

from __future__ import annotations

import os
import signal
from functools import cache
from typing import TYPE_CHECKING

import httpx
from celery import Celery

from examples.webhooks.trouble import POISON_HEADER, Mood
from hardening import harden

if TYPE_CHECKING:
    from celery import Task

__all__ = ["PREFIX", "QUEUE", "TASK", "RefusedError", "UnavailableError", "make_app"]

PREFIX = "webhooks"
QUEUE = "webhooks"
TASK = "webhooks.deliver"

#: How long the endpoint may take to answer, in seconds.
_TIMEOUT_S = 2.0
_MAX_RETRIES = 6
_FIRST_RETRY_S = 0.2


class UnavailableError(Exception):
    """The endpoint answered 5xx: worth another attempt."""


class RefusedError(Exception):
    """The endpoint answered 4xx: another attempt would change nothing."""


def make_app(broker_url: str, *, stock: bool, endpoint_url: str = "") -> Celery:
    """The app, hardened or with the settings that Celery's documentation recommends.

    Args:
        broker_url: of Redis.
        stock: plain Celery.
        endpoint_url: where workers post events; a sender needs none.
    """
    app = Celery("webhooks", broker=broker_url)
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_soft_time_limit=20,
        task_time_limit=30,
        broker_connection_retry_on_startup=True,
    )
    if stock:
        app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)
    else:
        app.conf.update(hardening_prefix=PREFIX, hardening_lease_ttl_s=2.0, hardening_crash_delay_s=0.5)
        app.conf.hardening_dlq_retry = {"default": {"attempts": 0}}  # the drill replays by hand
        harden(app)

    @app.task(name=TASK, bind=True, max_retries=_MAX_RETRIES)
    def deliver(self: Task[..., None], event_id: str, body: str) -> None:
        """Posts one event."""
        try:
            _post(endpoint_url, event_id, body)
        except (httpx.TransportError, UnavailableError) as error:
            raise self.retry(exc=error, countdown=_FIRST_RETRY_S * 2**self.request.retries) from error

    return app


def _post(url: str, event_id: str, body: str) -> None:
    response = _client(os.getpid()).post(url, content=body.encode(), headers={"Content-Type": "application/json"})
    if poison := response.headers.get(POISON_HEADER):
        _die(with_worker=poison == Mood.POISON_WORKER)
    if response.is_server_error:
        raise UnavailableError(f"{event_id}: the endpoint answered {response.status_code}")
    if response.is_error:
        raise RefusedError(f"{event_id}: the endpoint answered {response.status_code}")


def _die(*, with_worker: bool) -> None:
    """What a bug in a native library does to a process that reads a certain answer."""
    if with_worker:
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


@cache
def _client(pid: int) -> httpx.Client:  # noqa: ARG001 - one for each process of the pool
    return httpx.Client(timeout=_TIMEOUT_S)
