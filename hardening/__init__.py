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
    "BroadcastResult",
    "CallTimeout",
    "DeliveryStatus",
    "HardeningError",
    "Receipt",
    "asupervised_send",
    "breadcrumb",
    "broadcast",
    "call_with_timeout",
    "deadline",
    "error_context",
    "harden",
    "remaining",
    "send_many",
    "set_timeout",
    "stream_many",
    "supervised_send",
    "timeout_for",
    "unset_timeout",
]

_HOMES = {
    "BroadcastResult": "hardening.delivery",
    "CallTimeout": "hardening.timeouts",
    "DeliveryStatus": "hardening.delivery",
    "HardeningError": "hardening.core.errors",
    "Receipt": "hardening.delivery",
    "asupervised_send": "hardening.delivery",
    "breadcrumb": "hardening.context",
    "broadcast": "hardening.delivery",
    "call_with_timeout": "hardening.timeouts",
    "deadline": "hardening.timeouts",
    "error_context": "hardening.context",
    "harden": "hardening.app",
    "remaining": "hardening.timeouts",
    "send_many": "hardening.delivery",
    "set_timeout": "hardening.timeouts",
    "stream_many": "hardening.delivery",
    "supervised_send": "hardening.delivery",
    "timeout_for": "hardening.timeouts",
    "unset_timeout": "hardening.timeouts",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
