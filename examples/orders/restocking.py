"""Deliveries: what the beat sends every second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.orders.app import app
from hardening import agent

if TYPE_CHECKING:
    from celery import Task

__all__ = ["restock"]


@app.task(name="orders.restock", bind=True)
def restock(self: Task[..., None]) -> None:
    """One of each article. Its slot names the delivery, so it counts once, however often this runs."""
    slot = (self.request.headers or {})["hardening_slot"]["due_ms"]
    agent("inventory", app).sending(idempotency_key=f"delivery-{slot}").tell("restock", slot, 1)
