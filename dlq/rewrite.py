"""How a dead message is written anew for a replay."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlq.body import decoded_body
from hardening.core import payload as payloads
from hardening.core import raw as raw_message
from hardening.core.errors import RewriteRefused
from hardening.core.payload import DEADLINE_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlq.entry import Entry

__all__ = ["ATTEMPTS_HEADER", "METADATA_HEADER", "REPLAYED_FROM_HEADER", "Changes", "rewrite"]

#: Headers of ours that travel with a message.
METADATA_HEADER = "hardening_metadata"
REPLAYED_FROM_HEADER = "hardening_replayed_from"
#: How often it has been retried from the dead-letter queue; Celery carries it on to its own retries.
ATTEMPTS_HEADER = "hardening_attempts"

#: How much of the arguments Celery shows.
_REPR_MAX = 1024
#: What a payload may do to whoever looks for something in it.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a replay changes, besides making the message a new one.

    Attributes:
        attempts: the new count of retries from the dead-letter queue; None: it stays.
        queue: where it goes instead; None: where it came from.
        merge: given the task and its arguments, says what they are to be, or raises ``ValueError``; None: they stay.
    """

    attempts: int | None = None
    queue: str | None = None
    merge: Callable[[str, list[Any], dict[str, Any]], tuple[list[Any], dict[str, Any]]] | None = None


def rewrite(entry: Entry, changes: Changes) -> bytes:
    """The message with a new id, no retries or crashes yet, and where it came from.

    A replay is an operator's word: it runs, so neither an ETA nor an expiry nor a deadline stays. A message that
    cannot be read is returned as it is.

    Raises:
        RewriteRefused: its arguments were to be changed and cannot be.
    """
    try:
        payload = payloads.load(entry.raw)  # not the entry's: one that is kept costs more than one that is read again
        payload.pop(raw_message.FIELD, None)
        headers = payload["headers"]
        headers.update({"retries": 0, REPLAYED_FROM_HEADER: entry.id, "eta": None, "expires": None})
        headers.pop(DEADLINE_HEADER, None)
        if changes.attempts is not None:
            headers[ATTEMPTS_HEADER] = changes.attempts
        properties = payload["properties"]
        message = properties["delivery_tag"] = raw_message.new_id()
        if changes.queue is not None:
            properties["delivery_info"] = {"exchange": "", "routing_key": changes.queue}
        if changes.merge is not None:
            _change_arguments(payload, entry.task, changes.merge)
        return payloads.dump(payload, message, entry.receipt or None)
    except _UNREADABLE as error:
        if changes.merge is not None:
            raise RewriteRefused(entry.id, f"{error}") from error
        return entry.raw


def _change_arguments(payload: dict[str, Any], task: str, merge: Callable[..., Any]) -> None:
    headers = payload["headers"]
    if headers.get("compression") or payload.get("content-type") != "application/json":
        raise ValueError("its body is compressed or is not JSON")
    args, kwargs, embed = json.loads(decoded_body(payload))
    args, kwargs = merge(task, list(args), dict(kwargs))
    body = json.dumps([args, kwargs, embed])
    is_base64 = payload["properties"].get("body_encoding") == "base64"
    payload["body"] = payloads.encode_body(body) if is_base64 else body
    for name, value in (("argsrepr", tuple(args)), ("kwargsrepr", kwargs)):
        if name in headers:
            headers[name] = repr(value)[:_REPR_MAX]
