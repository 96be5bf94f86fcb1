"""What ``celery -A examples.orders.worker`` runs: the app, in a process that ends with whoever started it."""

from __future__ import annotations

from examples.orders.app import app
from examples.webhooks.lifeline import hold_on

__all__ = ["app"]

hold_on()
