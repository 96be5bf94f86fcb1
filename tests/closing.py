"""Closing apps with all their connections, which in production last as long as the process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hardening.core import deployment

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["close", "close_with_results"]


def close(app: Celery) -> None:
    """Ends a hardened app, and its own clients of Redis; no garbage collector has to find their sockets."""
    pid, clients = getattr(app, deployment._CLIENTS, (0, {}))
    if pid == os.getpid():
        for client in clients.values():
            client.connection_pool.disconnect()
    app.close()


def close_with_results(app: Celery) -> None:
    """The same for one with a result backend.

    What is subscribed to is forgotten: a result that is collected later would connect once more, to end that.
    """
    backend: Any = app.backend
    backend.result_consumer.stop()
    backend.result_consumer.subscribed_to.clear()
    backend.client.connection_pool.disconnect()
    close(app)
