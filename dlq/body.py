"""What a task was called with, as far as its dead message lets itself be read."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from hardening.core import payload as payloads

__all__ = ["Content", "decoded_body", "read_content"]


@dataclass(frozen=True, slots=True)
class Content:
    """The inside of a message. All of it is untrusted: show it, never run it.

    Attributes:
        headers: as Celery wrote them; empty when the message cannot be read.
        body: what the body says, if it is JSON; for a Celery task ``[args, kwargs, embed]``.
        problem: why the body cannot be read; empty: it was.
    """

    headers: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    problem: str = ""


def read_content(raw: bytes) -> Content:
    """Reads a raw message without running or unpacking anything. Nothing in it can make this fail."""
    try:
        payload = payloads.load(raw)
    except (ValueError, RecursionError) as error:
        return Content(problem=f"the message is no JSON object: {error}")
    given = payload.get("headers")
    headers = given if isinstance(given, dict) else {}
    if headers.get("compression"):
        return Content(headers, problem=f"the body is compressed: {headers['compression']}")
    if payload.get("content-type") != "application/json":
        return Content(headers, problem=f"the body is not JSON but {payload.get('content-type')}")
    try:
        return Content(headers, json.loads(decoded_body(payload)))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return Content(headers, problem=f"the body cannot be decoded: {error}")


def decoded_body(payload: dict[str, Any]) -> bytes | str:
    """The body as the producer serialised it.

    Raises:
        ValueError: it is not what its properties say; also TypeError and AttributeError.
    """
    body: str = payload.get("body", "")
    is_base64 = payload.get("properties", {}).get("body_encoding") == "base64"
    return base64.b64decode(body) if is_base64 else body
