"""Signals: what happened, told to whoever has subscribed to its name.

    subscribe("order.*", agent("inventory"), handler="on_order")
    subscribe("order.created", send_receipt, durable=True)
    emit("order.created", {"order": 17})

Subscriptions live in Redis and end with their subscriber, see :mod:`~hardening.agents.router.subscribing`; how names
are matched says :mod:`~hardening.agents.router.pattern`, and how signals get through
:mod:`~hardening.agents.router.emitting`.
"""

from __future__ import annotations

from hardening.agents.router.emission import Drop, Emission
from hardening.agents.router.emitting import aemit, emit
from hardening.agents.router.errors import EmitFailed, SignalError, SubscribeFailed, SubscriberGone
from hardening.agents.router.stats import SignalStats, signal_stats
from hardening.agents.router.subscribing import subscribe, subscriptions, unsubscribe
from hardening.agents.router.subscription import Subscription

__all__ = [
    "Drop",
    "Emission",
    "EmitFailed",
    "SignalError",
    "SignalStats",
    "SubscribeFailed",
    "SubscriberGone",
    "Subscription",
    "aemit",
    "emit",
    "signal_stats",
    "subscribe",
    "subscriptions",
    "unsubscribe",
]
