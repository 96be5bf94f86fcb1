"""What the settings mean, as told where they are defined."""

from __future__ import annotations

import inspect
import re

__all__ = ["meanings_of"]

_COMMENT = re.compile(r"^\s+#: ?(.*)$")
_FIELD = re.compile(r"^\s+(\w+): ")


def meanings_of(settings: type) -> dict[str, str]:
    """The ``#:`` comments of a class, by the name of what follows them.

    Empty where Python has no source, as in some frozen programs.
    """
    try:
        lines = inspect.getsource(settings).splitlines()
    except (OSError, TypeError):
        return {}
    meanings: dict[str, str] = {}
    comment: list[str] = []
    for line in lines:
        if match := _COMMENT.match(line):
            comment.append(match[1])
            continue
        if comment and (match := _FIELD.match(line)):
            meanings[match[1]] = " ".join(comment)
        comment = []
    return meanings
