"""An error context as it travels in a message's header: its shape, and its bounds.

::

    {"correlation_id": "...", "operation": "...", "fields": {...}, "breadcrumbs": [{"text": "...", "fields": {...}}]}

The same bounds hold for what is written and for what is read: a header may have been written by anybody.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["HEADER", "MOST_BREADCRUMBS", "bounded_context", "bounded_text", "read_context"]

#: The header that carries it.
HEADER = "hardening_context"
#: How many breadcrumbs are kept; older ones go.
MOST_BREADCRUMBS = 20
#: How much of a text is kept, of an id or a key, of all fields together, and of all breadcrumbs; in characters.
_TEXT, _NAME, _ALL = 256, 100, 3000
#: How many fields, items of one value, and levels inside it.
_FIELDS, _ITEMS, _LEVELS = 32, 16, 3
#: Whole numbers that JSON readers agree on.
_LARGEST = 2**63


def bounded_context(
    correlation_id: str,
    operation: str,
    fields: Mapping[str, Any],
    breadcrumbs: Iterable[tuple[str, Mapping[str, Any]]],
) -> dict[str, Any]:
    """A context as JSON of less than 10,000 characters; what is no JSON as its ``str``.

    Args:
        correlation_id: likewise bounded.
        operation: what was being done; empty: not said.
        fields: what was said of it. What is beyond the bounds is left out.
        breadcrumbs: texts with fields, the newest last. The oldest are left out.
    """
    kept: list[dict[str, Any]] = []
    left = _ALL
    for text, said in reversed(list(breadcrumbs)[-MOST_BREADCRUMBS:]):
        crumb = {"text": bounded_text(text, _TEXT), "fields": _bounded_fields(said)}
        left -= _length(crumb)
        if left < 0:
            break
        kept.append(crumb)
    return {
        "correlation_id": bounded_text(correlation_id, _NAME),
        "operation": bounded_text(operation, _TEXT),
        "fields": _bounded_fields(fields),
        "breadcrumbs": kept[::-1],
    }


def read_context(value: object) -> dict[str, Any] | None:
    """What a header says, in the shape above and within the bounds; None: it is no context. Nothing makes it raise."""
    if not isinstance(value, dict) or not isinstance(identity := value.get("correlation_id"), str) or not identity:
        return None
    crumbs: Any = value.get("breadcrumbs")
    said = [one for one in crumbs[-MOST_BREADCRUMBS:] if isinstance(one, dict)] if isinstance(crumbs, list) else []
    operation = value.get("operation")
    return bounded_context(
        identity,
        operation if isinstance(operation, str) else "",
        _mapping(value.get("fields")),
        [(str(one.get("text", ""))[:_TEXT], _mapping(one.get("fields"))) for one in said],
    )


def bounded_text(value: object, most: int = _TEXT) -> str:
    """A value as text of a bounded length."""
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception:  # noqa: BLE001 - a value that cannot be shown must not harm what is done with it
        text = f"({type(value).__name__} that cannot be shown)"
    text = text if len(text) <= most else f"{text[: most - 1]}…"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()  # no half of a surrogate pair


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _bounded_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    left = _ALL
    for name, value in islice(fields.items(), _FIELDS):
        one = {bounded_text(name, _NAME): _bounded(value, _LEVELS)}
        left -= _length(one)
        if left < 0:
            break
        kept |= one
    return kept


def _bounded(value: Any, levels: int) -> Any:
    """A value as plain JSON."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if -_LARGEST <= value < _LARGEST else bounded_text(value)
    if kind is float:
        return value if abs(value) < float("inf") else str(value)
    if kind is dict and levels:
        items = islice(value.items(), _ITEMS)
        return {bounded_text(key, _NAME): _bounded(inside, levels - 1) for key, inside in items}
    if kind in (list, tuple) and levels:
        return [_bounded(inside, levels - 1) for inside in value[:_ITEMS]]
    return bounded_text(value)


def _length(value: Any) -> int:
    return len(json.dumps(value))
