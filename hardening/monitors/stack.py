"""Where a monitor was set."""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["callers"]

_LONGEST = 200
_HERE = str(PurePath(__file__).parent)


def callers(depth: int) -> tuple[str, ...]:
    """The frames that led to a monitor, the innermost first, without those of this room; no source is read.

    Args:
        depth: how many at most; 0: none, and nothing is looked at.
    """
    frames: list[str] = []
    frame: FrameType | None = sys._getframe(1) if depth else None  # noqa: SLF001 - a tenth of what traceback costs
    while frame is not None and len(frames) < depth:
        if frames or not _is_ours(frame):
            frames.append(_line(frame))
        frame = frame.f_back
    return tuple(frames)


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_HERE) or frame.f_globals.get("__name__") == "contextlib"


def _line(frame: FrameType) -> str:
    text = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"
