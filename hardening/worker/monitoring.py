"""Every worker can be monitored by its name, and looks after monitors while there are any."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from celery import bootsteps

from hardening.monitors.service import MonitorService
from hardening.worker.steps import BookStep

if TYPE_CHECKING:
    from hardening.core.membership import Lease

__all__ = ["MonitorStep"]


class MonitorStep(bootsteps.StartStopStep):
    """Tells Redis which consumer has the worker's name, in the worker's parent process, and starts the service."""

    requires = (BookStep,)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._lease: Lease | None = None
        self._service: MonitorService | None = None

    def start(self, consumer: Any) -> None:
        """The consumer has a book; after a reconnect it is the same, or another."""
        self._lease = consumer.task_consumer.channel.open_book().lease
        if self._lease.node != consumer.hostname:
            self._lease.node = consumer.hostname
            self._lease.renew()
        if self._service is None:
            name = f"{socket.gethostname()}:{os.getpid()}"
            self._service = MonitorService(consumer.app, name=name, are_monitors=self._are_monitors)
        self._service.start()

    def shutdown(self, consumer: Any) -> None:  # noqa: ARG002 - Celery's signature
        """The worker stops."""
        if self._service is not None:
            self._service.stop()

    def _are_monitors(self) -> bool:
        return self._lease is not None and self._lease.are_monitors
