"""The app: what is hardened, whose sickness is watched, who is hosted, what is due when."""

from __future__ import annotations

import os

from celery import Celery

from examples.orders.couriers import COURIERS
from examples.orders.inventory import Inventory
from hardening import Breaker, harden, host

__all__ = ["GATEWAY", "app"]

_REDIS = os.environ.get("ORDERS_REDIS", "redis://localhost:6379/0")
#: Where payments are charged.
GATEWAY = os.environ.get("ORDERS_GATEWAY", "http://localhost:8080")

app = Celery(
    "orders",
    broker=_REDIS,
    backend=_REDIS,  # only who asks a task for its result needs it
    include=[f"examples.orders.{module}" for module in ("shop", "payments", "packing", "restocking")],
)
app.conf.update(
    task_default_queue="orders",
    beat_schedule={"restock": {"task": "orders.restock", "schedule": 1.0}},
    hardening_prefix="orders",
    hardening_lease_ttl_s=2.0,  # a worker that is silent for so long is dead; the default is 10
    hardening_beat_history=100,  # the audit compares every slot; the default is 20
    hardening_timeouts={"orders.price": 2.0},
    hardening_dlq_retry={"default": {"attempts": 0}},  # here dead letters wait for the evening
)
harden(app)  # after the settings, before the tasks

# One for all workers: when half of five calls within 2 s have failed, nobody calls for a second, then one tries.
Breaker("gateway", minimum_calls=5, window_s=2, open_s=1, probes=1, app=app)

host(app, Inventory, *COURIERS)
