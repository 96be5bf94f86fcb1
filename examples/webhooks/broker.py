"""What stands in the broker: how much, and which events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dlq import DeadLetters
from examples.webhooks.app import QUEUE, TASK
from hardening import supervised_send
from hardening.core.deployment import settings_of
from hardening.core.ledger import read_ledger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celery import Celery
    from redis import Redis

    from examples.webhooks.events import Event

__all__ = ["Broker", "Counts", "HardenedBroker", "ids_of"]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages are where. None: this transport cannot tell.

    Attributes:
        queued: waiting.
        scheduled: waiting until due.
        in_flight: taken by a worker.
        acked: done, retries counted one by one.
        dead: dead letters there are now.
        recovered: returned from dead workers so far.
        buried: dead letters there have ever been.
        is_balanced: whether everything that came in is somewhere.
    """

    queued: int
    in_flight: int
    scheduled: int | None = None
    acked: int | None = None
    dead: int | None = None
    recovered: int | None = None
    buried: int | None = None
    is_balanced: bool | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to be done."""
        return not (self.queued or self.in_flight or self.scheduled)


class Broker(Protocol):
    """What a drill asks of a broker."""

    def send(self, event: Event) -> None:
        """Sends one event."""

    def counts(self) -> Counts:
        """How many messages are where, now."""

    def leftovers(self) -> dict[str, set[str]]:
        """The ids of all events that are still in the broker, by place."""

    def consumers(self) -> dict[int, str]:
        """The consumer of each worker, by process id."""

    def held_by(self, consumer: str) -> int:
        """How many messages a consumer holds."""

    def replay(self) -> int:
        """Returns all dead letters to their queues; returns how many."""

    def dead(self) -> dict[str, str]:
        """Why each dead letter died, by the id of its event."""


class HardenedBroker:
    """The broker of a hardened app.

    Args:
        app: hardened.
        client: of its Redis.
    """

    def __init__(self, app: Celery, client: Redis) -> None:
        settings = settings_of(app)
        self._task = app.tasks[TASK]
        self._client = client
        self._keys = settings.keys
        self._dead = DeadLetters(client, settings.keys, receipt_ttl_ms=settings.receipt_ttl_ms, operator="drill")

    def send(self, event: Event) -> None:
        """Sends one event, supervised."""
        supervised_send(self._task, (event.id, event.body), task_id=event.id, on_error="raise")

    def counts(self) -> Counts:
        """How many messages are where, at one instant."""
        ledger = read_ledger(self._client, self._keys)
        counters = ledger.counters
        return Counts(
            queued=ledger.queued + ledger.stock,
            in_flight=ledger.inflight,
            scheduled=ledger.scheduled,
            acked=counters.get("acked", 0),
            dead=len(self._dead),
            recovered=counters.get("recovered", 0),
            buried=counters.get("dead", 0),
            is_balanced=ledger.is_balanced,
        )

    def leftovers(self) -> dict[str, set[str]]:
        """The ids of all events that are still in the broker, by place."""
        keys = self._keys
        held = [raw for consumer in self.consumers().values() for raw in self._client.hvals(keys.inflight(consumer))]
        return {
            "queued": ids_of(self._client.lrange(QUEUE, 0, -1)),
            "scheduled": ids_of(self._client.hvals(keys.scheduled_messages)),
            "in flight": ids_of(held),
            "dead letters": set(self.dead()),
        }

    def consumers(self) -> dict[int, str]:
        """The consumer of each worker, by process id."""
        members: dict[Any, Any] = self._client.hgetall(self._keys.members)
        return {json.loads(about)["pid"]: consumer.decode() for consumer, about in members.items()}

    def held_by(self, consumer: str) -> int:
        """How many messages a consumer holds."""
        return self._client.hlen(self._keys.inflight(consumer))

    def replay(self) -> int:
        """Returns all dead letters to their queues; returns how many."""
        return self._dead.replay(self._dead.select())

    def dead(self) -> dict[str, str]:
        """Why each dead letter died, by the id of its event."""
        return {entry.task_id: entry.reason for entry in self._dead.select()}


def ids_of(stored: Iterable[Any]) -> set[str]:
    """The task ids of raw messages, which a hardened transport puts behind the name of their list."""
    return {str(_headers(raw[raw.index(b"{") :])["id"]) for raw in stored}


def _headers(raw: bytes) -> dict[str, Any]:
    headers: dict[str, Any] = json.loads(raw)["headers"]
    return headers
