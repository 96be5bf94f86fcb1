"""The broker of plain Celery."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from examples.webhooks.app import QUEUE, TASK
from examples.webhooks.broker import Counts, ids_of

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from examples.webhooks.events import Event

__all__ = ["StockBroker"]


class StockBroker:
    """The broker of a plain app: it has no ledger, no consumers and no dead letters.

    Args:
        app: plain Celery.
        client: of its Redis.
    """

    def __init__(self, app: Celery, client: Redis) -> None:
        self._task = app.tasks[TASK]
        self._client = client

    def send(self, event: Event) -> None:
        """Sends one event."""
        self._task.apply_async((event.id, event.body), task_id=event.id)

    def counts(self) -> Counts:
        """How many messages are where, more or less."""
        return Counts(queued=self._client.llen(QUEUE), in_flight=self._client.hlen("unacked"))

    def leftovers(self) -> dict[str, set[str]]:
        """The ids of all events that are still in the broker, by place."""
        unacked = [json.dumps(json.loads(held)[0]).encode() for held in self._client.hvals("unacked")]
        return {"queued": ids_of(self._client.lrange(QUEUE, 0, -1)), "unacked": ids_of(unacked)}

    def consumers(self) -> dict[int, str]:
        """None are known."""
        return {}

    def held_by(self, consumer: str) -> int:  # noqa: ARG002 - a drill asks
        """Nobody knows who holds what."""
        return 0

    def replay(self) -> int:
        """There is nothing to replay."""
        return 0

    def dead(self) -> dict[str, str]:
        """There are no dead letters."""
        return {}
