"""Where a monitor was set."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["callers"]

_LONGEST = 200
#: How many stacks are remembered: the same few places set monitors again and again.
_MOST = 1024
#: How many frames of this room, and of what it goes through, a stack may begin with.
_OURS = 6
_HERE = (str(PurePath(__file__).parent), contextlib.__file__)

#: Stacks as text, by code and instruction of each frame. An entry keeps the code alive, so no other gets its id.
_known: dict[tuple[int, ...], tuple[str, list[CodeType]]] = {}


def callers(depth: int) -> str:
    """The frames that led to a monitor, the innermost first, without those of this room; no source is read.

    Args:
        depth: how many at most; 0: none, and nothing is looked at.

    Returns:
        A JSON list of texts.
    """
    if not depth:
        return "[]"
    innermost: FrameType | None = sys._getframe(1)  # noqa: SLF001 - a tenth of what traceback costs
    where: list[int] = []
    codes: list[CodeType] = []
    frame = innermost
    while frame is not None and len(codes) < depth + _OURS:
        code = frame.f_code
        codes.append(code)
        where += (id(code), frame.f_lasti)
        frame = frame.f_back
    key = (depth, *where)
    known = _known.get(key)
    if known is None:
        if len(_known) >= _MOST:
            _known.clear()
        known = _known[key] = _text(innermost, depth), codes
    return known[0]


def _text(frame: FrameType | None, depth: int) -> str:
    lines: list[str] = []
    while frame is not None and len(lines) < depth:
        code = frame.f_code
        if lines or not code.co_filename.startswith(_HERE):
            text = f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
            lines.append(text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}")
        frame = frame.f_back
    return json.dumps(lines)
