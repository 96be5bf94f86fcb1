"""What may be said of a publication, as for ``apply_async``, and ``delay``."""

from __future__ import annotations

import difflib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dlq.entry import METADATA_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["arranged"]

#: Of ``Task.apply_async``, ``Celery.send_task`` and what they pass on, less what is ours to say.
_KNOWN = frozenset(
    {"task_id", "shadow", "link", "link_error", "countdown", "eta", "expires", "time_limit", "soft_time_limit"}
    | {"queue", "exchange", "routing_key", "exchange_type", "priority", "serializer", "compression", "headers"}
    | {"ignore_result", "add_to_parent", "reply_to", "root_id", "parent_id", "group_id", "group_index", "chord"}
    | {"chain", "route_name", "router", "task_type", "result_cls", "stamped_headers", "replaced_task_nesting"}
    | {"argsrepr", "kwargsrepr", "origin", "timezone", "now", "retry", "retry_policy", "declare", "delivery_mode"}
    | {"event_dispatcher", "confirm_timeout", "mandatory", "immediate", "correlation_id", "message_id", "timestamp"}
    | {"type", "user_id", "app_id", "cluster_id", "expiration"}
)
#: What would take the message out of our hands.
_OURS = frozenset({"connection", "producer", "publisher"})
#: What may be meant besides them.
_SAID_HERE = frozenset(
    {"delay", "metadata", "confirm", "timeout", "retries", "on_error", "idempotency_key", "app", "replicas"}
)


def arranged(
    options: Mapping[str, Any], *, delay: float | timedelta | None, metadata: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The options of a publication with everything that is said in other words; the caller's own stay as they are.

    Raises:
        TypeError: there is no such option.
        ValueError: they contradict each other.
    """
    stamps = options.get("stamped_headers") or ()
    for name in options:
        if name in _OURS:
            raise TypeError(f"{name} is not for a supervised send: it publishes over a connection of its own")
        if name not in _KNOWN and name not in stamps:
            raise TypeError(_unknown(name))
    arranged = dict(options)
    if delay is not None:
        arranged["countdown"] = _seconds(delay, options)
    if metadata is not None:
        arranged["headers"] = {**(options.get("headers") or {}), METADATA_HEADER: dict(metadata)}
    return arranged


def _unknown(name: str) -> str:
    known = sorted(_KNOWN | _SAID_HERE)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"unknown option {name}, did you mean {near[0]}?"
    return f"unknown option {name}, known are: {', '.join(known)}"


def _seconds(delay: float | timedelta, options: Mapping[str, Any]) -> float:
    for other in ("countdown", "eta"):
        if options.get(other) is not None:
            raise ValueError(f"delay is {delay!r} and {other} is {options[other]!r}: name one of them")
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"delay is {delay!r}, expected seconds or a timedelta")
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"delay is {delay!r}, expected 0 seconds or more")
    return seconds
