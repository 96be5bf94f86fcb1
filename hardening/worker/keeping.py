"""Every worker keeps the dead letters: retries what can heal, trims what is too old or too much."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from celery import bootsteps
from celery.worker.components import Pool

from dlq import DeadLetters
from dlq.keeper import Keeper
from dlq.service import KeeperService
from hardening.core.deployment import client_of, settings_of

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["KeepStep", "service_for"]


class KeepStep(bootsteps.StartStopStep):
    """Starts the keeper in the worker's parent process, once there is a pool, and stops it with the worker."""

    requires = (Pool,)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._service: KeeperService | None = None

    def start(self, worker: Any) -> None:
        """The worker starts."""
        self._service = service_for(worker.app)
        self._service.start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        """The worker stops."""
        if self._service is not None:
            self._service.stop()

    terminate = stop


def service_for(app: Celery) -> KeeperService:
    """The keeper of one process of an app."""
    name = f"{socket.gethostname()}:{os.getpid()}"
    tasks_of = DeadLetters.of(app).tasks_of
    return KeeperService(Keeper(client_of(app), settings_of(app), name=name, tasks_of=tasks_of), name=name)
