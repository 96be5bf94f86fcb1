"""OTP-grade delivery for Celery on Redis.

    from celery import Celery
    from hardening import harden

    app = harden(Celery("shop", broker="redis://localhost/0"))

The names below are what an app, a producer or a task needs every day; they are loaded when they are first used, so that
importing one module stays cheap. Rooms have more, see README.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardening.agents import Agent, AgentState, Mailbox, Supervisor, agent, handles, host
    from hardening.agents.router import aemit, emit, subscribe, subscriptions, unsubscribe
    from hardening.app import harden
    from hardening.breaker import Breaker, CircuitOpen
    from hardening.context import breadcrumb, error_context
    from hardening.core.errors import HardeningError
    from hardening.delivery import (
        BroadcastResult,
        Cancellation,
        DeliveryStatus,
        GroupReceipt,
        Receipt,
        asupervised_send,
        broadcast,
        send_many,
        stream_many,
        supervised_send,
    )
    from hardening.monitors import (
        Down,
        MonitorRef,
        Target,
        ademonitor,
        amonitor,
        amonitoring,
        demonitor,
        find_leaks,
        list_monitors,
        monitor,
        monitoring,
    )
    from hardening.timeouts import (
        CallTimeout,
        call_with_timeout,
        deadline,
        remaining,
        set_timeout,
        timeout_for,
        unset_timeout,
    )

__all__ = [
    "Agent",
    "AgentState",
    "Breaker",
    "BroadcastResult",
    "CallTimeout",
    "Cancellation",
    "CircuitOpen",
    "DeliveryStatus",
    "Down",
    "GroupReceipt",
    "HardeningError",
    "Mailbox",
    "MonitorRef",
    "Receipt",
    "Supervisor",
    "Target",
    "ademonitor",
    "aemit",
    "agent",
    "amonitor",
    "amonitoring",
    "asupervised_send",
    "breadcrumb",
    "broadcast",
    "call_with_timeout",
    "deadline",
    "demonitor",
    "emit",
    "error_context",
    "find_leaks",
    "handles",
    "harden",
    "host",
    "list_monitors",
    "monitor",
    "monitoring",
    "remaining",
    "send_many",
    "set_timeout",
    "stream_many",
    "subscribe",
    "subscriptions",
    "supervised_send",
    "timeout_for",
    "unset_timeout",
    "unsubscribe",
]

_HOMES = {
    "Agent": "hardening.agents",
    "AgentState": "hardening.agents",
    "Breaker": "hardening.breaker",
    "BroadcastResult": "hardening.delivery",
    "CallTimeout": "hardening.timeouts",
    "Cancellation": "hardening.delivery",
    "CircuitOpen": "hardening.breaker",
    "DeliveryStatus": "hardening.delivery",
    "Down": "hardening.monitors",
    "GroupReceipt": "hardening.delivery",
    "HardeningError": "hardening.core.errors",
    "Mailbox": "hardening.agents",
    "MonitorRef": "hardening.monitors",
    "Receipt": "hardening.delivery",
    "Supervisor": "hardening.agents",
    "Target": "hardening.monitors",
    "ademonitor": "hardening.monitors",
    "aemit": "hardening.agents.router",
    "agent": "hardening.agents",
    "amonitor": "hardening.monitors",
    "amonitoring": "hardening.monitors",
    "asupervised_send": "hardening.delivery",
    "breadcrumb": "hardening.context",
    "broadcast": "hardening.delivery",
    "call_with_timeout": "hardening.timeouts",
    "deadline": "hardening.timeouts",
    "demonitor": "hardening.monitors",
    "emit": "hardening.agents.router",
    "error_context": "hardening.context",
    "find_leaks": "hardening.monitors",
    "handles": "hardening.agents",
    "harden": "hardening.app",
    "host": "hardening.agents",
    "list_monitors": "hardening.monitors",
    "monitor": "hardening.monitors",
    "monitoring": "hardening.monitors",
    "remaining": "hardening.timeouts",
    "send_many": "hardening.delivery",
    "set_timeout": "hardening.timeouts",
    "stream_many": "hardening.delivery",
    "subscribe": "hardening.agents.router",
    "subscriptions": "hardening.agents.router",
    "supervised_send": "hardening.delivery",
    "timeout_for": "hardening.timeouts",
    "unset_timeout": "hardening.timeouts",
    "unsubscribe": "hardening.agents.router",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
