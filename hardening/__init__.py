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
    from hardening.core.errors import HardeningError
    from hardening.delivery import (
        Cancellation,
        DeliveryStatus,
        GroupReceipt,
        Receipt,
        asupervised_send,
        send_many,
        stream_many,
        supervised_send,
    )

__all__ = [
    "Cancellation",
    "DeliveryStatus",
    "GroupReceipt",
    "HardeningError",
    "Receipt",
    "asupervised_send",
    "harden",
    "send_many",
    "stream_many",
    "supervised_send",
]

_HOMES = {
    "Cancellation": "hardening.delivery",
    "DeliveryStatus": "hardening.delivery",
    "GroupReceipt": "hardening.delivery",
    "HardeningError": "hardening.core.errors",
    "Receipt": "hardening.delivery",
    "asupervised_send": "hardening.delivery",
    "harden": "hardening.app",
    "send_many": "hardening.delivery",
    "stream_many": "hardening.delivery",
    "supervised_send": "hardening.delivery",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
