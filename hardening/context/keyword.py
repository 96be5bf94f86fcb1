"""The old way of passing a context on: in the keyword argument ``error_context`` of a task.

It is adopted, with a warning once for each task. The guide is in ``docs/context.md``.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery.app.task import Context

__all__ = ["KEYWORD", "adopted", "warn_of"]

#: The argument.
KEYWORD = "error_context"


def adopted(request: Context) -> tuple[str, str, Mapping[str, Any]] | None:
    """What a task was called with: correlation id and operation, empty where there is none, and fields; or None."""
    kwargs: Any = request.kwargs
    said = kwargs.get(KEYWORD) if isinstance(kwargs, dict) else None
    if not isinstance(said, dict):
        return None
    identity, operation = (text if isinstance(text := said.get(name), str) else "" for name in _NAMED)
    return identity, operation, {name: value for name, value in said.items() if name not in _NAMED}


def warn_of(request: Context) -> None:
    """Says that this is the old way."""
    warnings.warn(
        f"{getattr(request, 'task', 'a task')} was called with {KEYWORD}={{...}}: call it inside "
        "`with error_context(...)` instead, and take the argument away; see docs/context.md",
        DeprecationWarning,
        stacklevel=2,
    )


_NAMED = ("correlation_id", "operation")
