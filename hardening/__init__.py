"""OTP-grade delivery for Celery on Redis.

    from celery import Celery
    from hardening import harden

    app = harden(Celery("shop", broker="redis://localhost/0"))

The names below are loaded when they are first used, so that importing one module stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardening.app import harden
    from hardening.breaker import Breaker, CircuitOpen
    from hardening.context import breadcrumb, error_context
    from hardening.core.errors import HardeningError
    from hardening.delivery import (
        BroadcastResult,
        DeliveryStatus,
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

__all__ = [
    "Breaker",
    "BroadcastResult",
    "CircuitOpen",
    "DeliveryStatus",
    "Down",
    "HardeningError",
    "MonitorRef",
    "Receipt",
    "Target",
    "ademonitor",
    "amonitor",
    "amonitoring",
    "asupervised_send",
    "breadcrumb",
    "broadcast",
    "demonitor",
    "error_context",
    "find_leaks",
    "harden",
    "list_monitors",
    "monitor",
    "monitoring",
    "send_many",
    "stream_many",
    "supervised_send",
]

_HOMES = {
    "BroadcastResult": "hardening.delivery",
    "Breaker": "hardening.breaker",
    "CircuitOpen": "hardening.breaker",
    "DeliveryStatus": "hardening.delivery",
    "Down": "hardening.monitors",
    "HardeningError": "hardening.core.errors",
    "MonitorRef": "hardening.monitors",
    "Receipt": "hardening.delivery",
    "Target": "hardening.monitors",
    "ademonitor": "hardening.monitors",
    "amonitor": "hardening.monitors",
    "amonitoring": "hardening.monitors",
    "asupervised_send": "hardening.delivery",
    "broadcast": "hardening.delivery",
    "demonitor": "hardening.monitors",
    "find_leaks": "hardening.monitors",
    "breadcrumb": "hardening.context",
    "error_context": "hardening.context",
    "harden": "hardening.app",
    "list_monitors": "hardening.monitors",
    "monitor": "hardening.monitors",
    "monitoring": "hardening.monitors",
    "send_many": "hardening.delivery",
    "stream_many": "hardening.delivery",
    "supervised_send": "hardening.delivery",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
