"""Idempotency keys: what a sender calls a message, so that Redis takes it once.

A key is known by its SHA-256 alone: neither its length nor what it may betray gets to Redis. The digest and the
window stand in the receipt, and so also in a spool.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from hardening.core.scripts import Once

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIGEST_FIELD", "once_fields", "once_of"]

#: The fields of a receipt that tell of the key.
DIGEST_FIELD, _WINDOW_FIELD = "idempotency", "idempotency_window_ms"
#: The windows that make sense, in seconds.
_SHORTEST_S, _LONGEST_S = 0.001, 31_536_000.0


def once_fields(key: str | None, window: float | timedelta | None, default_s: float) -> dict[str, str]:
    """What a receipt says of its idempotency key; nothing, if there is none.

    Args:
        key: as the sender has it.
        window: how long it is remembered, in seconds; None: ``default_s``.
        default_s: likewise.

    Raises:
        TypeError: the key is no text.
        ValueError: it is empty, the window is none, or there is a window without a key.
    """
    if key is None:
        if window is not None:
            raise ValueError(f"idempotency_window is {window!r}, but there is no idempotency_key")
        return {}
    if not isinstance(key, str):
        raise TypeError(f"idempotency_key is {key!r}, expected a str")
    if not key:
        raise ValueError("idempotency_key is empty, expected a name for the message, such as 'order-17-paid'")
    window_s = default_s if window is None else window
    seconds = window_s.total_seconds() if isinstance(window_s, timedelta) else window_s
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise ValueError(f"idempotency_window is {window!r}, expected seconds, from {_SHORTEST_S} to {_LONGEST_S:.0f}")
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return {DIGEST_FIELD: digest, _WINDOW_FIELD: str(round(seconds * 1000))}


def once_of(fields: Mapping[str, str]) -> Once | None:
    """The idempotency key of which a receipt tells, if it does."""
    digest = fields.get(DIGEST_FIELD)
    return Once(digest, int(fields[_WINDOW_FIELD])) if digest else None
