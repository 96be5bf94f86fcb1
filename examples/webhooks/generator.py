"""Makes events such as a shop sends."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from examples.webhooks.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["generate"]

_FIRST = datetime(2025, 3, 3, 9, tzinfo=UTC)
_PLANS = ("starter", "team", "business")
_CURRENCIES = ("EUR", "USD", "GBP")


def generate(count: int, *, seed: int) -> list[Event]:
    """Makes events such as a shop sends; the same ones for the same seed.

    Args:
        count: how many.
        seed: of the generator.
    """
    random = Random(seed)
    kinds = list(_DATA)
    weights = [weight for weight, _ in _DATA.values()]
    at, events = _FIRST, []
    for _ in range(count):
        at += timedelta(milliseconds=random.randrange(20, 4_000))
        kind = random.choices(kinds, weights)[0]
        event_id = f"evt_{random.getrandbits(80):020x}"
        about = {"id": event_id, "type": kind, "created": at.isoformat(), "data": _DATA[kind][1](random)}
        events.append(Event(event_id, json.dumps(about)))
    return events


def _customer(random: Random) -> str:
    return f"cus_{random.randrange(1 << 32):08x}"


def _money(random: Random) -> dict[str, Any]:
    return {"amount": f"{random.lognormvariate(3.6, 0.8):.2f}", "currency": random.choice(_CURRENCIES)}


def _order(random: Random) -> dict[str, Any]:
    skus = [f"SKU-{random.randrange(10_000):04}" for _ in range(random.randrange(1, 5))]
    lines = [{"sku": sku, "quantity": random.randrange(1, 4)} for sku in skus]
    return {
        "order": f"ord_{random.randrange(10**8):08}",
        "customer": _customer(random),
        "lines": lines,
        **_money(random),
    }


def _invoice(random: Random) -> dict[str, Any]:
    return {"invoice": f"INV-{random.randrange(10**6):06}", "customer": _customer(random), **_money(random)}


def _signup(random: Random) -> dict[str, Any]:
    customer = _customer(random)
    return {"customer": customer, "email": f"{customer}@example.com", "plan": random.choice(_PLANS)}


def _shipment(random: Random) -> dict[str, Any]:
    return {"order": f"ord_{random.randrange(10**8):08}", "tracking": f"1Z{random.randrange(10**10):010}"}


#: Kinds of event: how frequent they are, and what they carry.
_DATA: dict[str, tuple[int, Callable[[Random], dict[str, Any]]]] = {
    "order.paid": (40, _order),
    "order.refunded": (5, _order),
    "shipment.sent": (20, _shipment),
    "invoice.sent": (20, _invoice),
    "payment.failed": (5, _invoice),
    "user.signup": (10, _signup),
}
