"""What failures have in common: the kind of error and where it was raised, but not when, for whom or on which line."""

from __future__ import annotations

import re

__all__ = ["fingerprint_of"]

_FRAME = re.compile(r'^ *File "([^"\n]{1,1000})", line \d+, in ([^\n]{1,200})$', re.MULTILINE)
_KIND = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}(?=:|$)")
#: Of a file's path; the rest depends on where it is installed.
_PARTS = 2
_LONGEST = 200


def fingerprint_of(error: str, traceback: str) -> str:
    """One line that is the same for the same problem.

    Args:
        error: begins with the error's type: ``ValueError: no such order 17``.
        traceback: as Python prints it; the last frame counts.

    Returns:
        ``ValueError in charge (shop/tasks.py)``; without a traceback ``ValueError``; of nothing, nothing.
    """
    kind = _KIND.match(error)
    name = kind[0] if kind else ""
    frames = _FRAME.findall(traceback)
    if not frames:
        return name
    path, function = frames[-1]
    place = "/".join(path.replace("\\", "/").split("/")[-_PARTS:])
    return f"{name} in {function} ({place})"[:_LONGEST].strip()
