"""kombu's payload as JSON, and the little of it that the transport looks at."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from kombu.utils.json import JSONEncoder

from hardening.core import raw as raw_message

__all__ = ["DEADLINE_HEADER", "RECEIPT_HEADER", "due_ms", "dump", "encode_body", "is_tracked", "load"]

#: The header that carries a receipt's id from a message to its retries.
RECEIPT_HEADER = "hardening_receipt"
#: The header that carries a deadline, in ms since the epoch by the clock of Redis.
DEADLINE_HEADER = "hardening_deadline_ms"

#: kombu makes a new encoder for every message.
_encode = JSONEncoder().encode

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

Payload = dict[str, Any]


def is_tracked(payload: Payload) -> bool:
    """Whether the ledger covers a message: Celery tasks, but no events, replies or results."""
    return "task" in (payload.get("headers") or ())


def dump(payload: Payload, message: str, receipt: str | None = None) -> bytes:
    """The raw message, marked with its id and its receipt's."""
    encoded: str = _encode({raw_message.FIELD: raw_message.mark(message, receipt), **payload})
    return encoded.encode()


def encode_body(body: str | bytes) -> str:
    """The body as kombu's virtual transports put it into their payload: base64."""
    return base64.b64encode(body.encode() if isinstance(body, str) else body).decode()


def load(raw: bytes) -> Payload:
    """The payload of a raw message.

    Raises:
        ValueError: it is not a JSON object.
    """
    payload = json.loads(raw)
    if not isinstance(payload, dict):
        raise ValueError(f"expected a JSON object, got {type(payload).__name__}")
    return payload


def due_ms(payload: Payload) -> int:
    """When a task is due by its ``eta`` header, in ms since the epoch; 0: at once, or not readable."""
    eta = (payload.get("headers") or {}).get("eta")
    if not isinstance(eta, str):
        return 0
    try:
        due = datetime.fromisoformat(eta)
    except ValueError:
        return 0
    return ((due if due.tzinfo else due.replace(tzinfo=UTC)) - _EPOCH) // _MS
