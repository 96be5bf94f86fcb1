"""Signals of an app: agents that are hosted, and what waits for subscribers."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from hardening.core import payload as payloads
from hardening.core.deployment import client_of, settings_of
from hardening.core.ledger import read_ledger

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["balance", "body_of", "charge_of", "host", "raws", "waiting"]


def charge_of(app: Celery) -> Any:
    """A task that is told."""

    @app.task(name="shop.charge", shared=False)
    def charge(signal: str, payload: Any) -> None: ...

    return charge


def host(app: Celery, name: str, **fields: str | int) -> None:
    """Makes the mailbox of an agent, as the worker that hosts it does."""
    key = f"{settings_of(app).prefix}:mailbox:agent.{name}"
    client_of(app).hset(key, mapping={"bound": 10_000, "when_full": "reject", **fields})  # type: ignore[dict-item]


def waiting(app: Celery, queue: str) -> list[tuple[str, list[Any]]]:
    """Task and arguments of what waits, the oldest first."""
    loaded = [payloads.load(raw) for raw in reversed(raws(app, queue))]
    return [(one["headers"]["task"], body_of(one)[0]) for one in loaded]


def raws(app: Celery, queue: str) -> list[bytes]:
    """What waits, the newest first."""
    found: Any = client_of(app).lrange(queue, 0, -1)
    return list(found)


def body_of(payload: dict[str, Any]) -> Any:
    """What a message is about."""
    return json.loads(base64.b64decode(payload["body"]))


def balance(app: Celery) -> dict[str, int]:
    """What was counted, and it must be right."""
    ledger = read_ledger(client_of(app), settings_of(app).keys)
    assert ledger.is_balanced, ledger
    return ledger.counters
