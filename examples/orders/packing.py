"""Packing: two stations for all workers, and an auction for each parcel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from examples.orders.app import app
from examples.orders.couriers import COURIERS
from hardening import agent
from hardening.agents.coordination import ResourceTimeout, auction, semaphore

if TYPE_CHECKING:
    from celery import Task

__all__ = ["pack"]

#: How many parcels are packed at a time, whatever the number of workers; a dead one's station is free after ``ttl``.
_STATIONS = semaphore("stations", 2, ttl=2.0, app=app)
_BID_S = 2.0


@app.task(name="orders.pack", bind=True, max_retries=None)
def pack(self: Task[..., None], _signal: str, payload: dict[str, Any]) -> None:
    """Has subscribed to ``order.paid``."""
    order = payload["order"]
    try:
        station = _STATIONS.acquire(timeout=0)
    except ResourceTimeout as busy:  # comes back later, rather than keep its place in the pool
        raise self.retry(exc=busy, countdown=0.2) from busy
    with station:
        sold = auction(order, [courier.name for courier in COURIERS], timeout=_BID_S, app=app)
    if sold.winner is None:
        raise self.retry(countdown=0.5)
    # Run twice, the task may find another winner: but of all sends with one key the first is the message.
    agent(sold.winner, app).sending(idempotency_key=f"parcel-{order}").tell("carry", order)
