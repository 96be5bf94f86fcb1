"""Where a monitor was set."""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["callers"]

_LONGEST = 200
_HERE = str(PurePath(__file__).parent)


def callers(depth: int) -> str:
    """The frames that led to a monitor, the innermost first, without those of this room; no source is read.

    Args:
        depth: how many at most; 0: none, and nothing is looked at.

    Returns:
        A JSON list of texts: each line is encoded once, for the same few set monitors again and again.
    """
    frames: list[str] = []
    frame: FrameType | None = sys._getframe(1) if depth else None  # noqa: SLF001 - a tenth of what traceback costs
    while frame is not None and len(frames) < depth:
        if frames or not _is_ours(frame):
            code = frame.f_code
            frames.append(_line(code.co_filename, frame.f_lineno, code.co_qualname))
        frame = frame.f_back
    return f"[{', '.join(frames)}]"


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_HERE) or frame.f_globals.get("__name__") == "contextlib"


@lru_cache(maxsize=4096)
def _line(file: str, number: int, name: str) -> str:
    text = f"{file}:{number} in {name}"
    return json.dumps(text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}")
