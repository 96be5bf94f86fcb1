"""A worker's own events, which must not hold up its loop."""

from __future__ import annotations

from typing import Any

from celery.events.dispatcher import EventDispatcher

__all__ = ["Dispatcher"]


class Dispatcher(EventDispatcher):
    """Celery's dispatcher of events, which tries none of them for ever.

    Celery 5.7 has a worker's heartbeat tried again without a limit, in the thread of the event loop. Where it is the
    heartbeat that finds Redis silent, that loop would stand still: no connection is given up, no task begun, no
    signal to stop obeyed. An event without a retry policy is tried once; what could not be sent waits for the next
    connection, as Celery's other events do.
    """

    def send(self, type: str, **options: Any) -> Any:  # type: ignore[override]  # noqa: A002 - Celery's name
        """Sends an event, or keeps it for later."""
        return super().send(type, **{**options, "retry": bool(options.get("retry") and options.get("retry_policy"))})
