"""How long an HTTP server asks to be left alone: ``Retry-After``, RFC 9110, section 10.2.3."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["retry_after_of", "seconds_of"]

_SECONDS = re.compile(r"[0-9]{1,9}")
_LONGEST = 100


def retry_after_of(headers: Any) -> float | None:
    """What a response's headers ask for, in seconds; None: nothing, or nothing that can be understood."""
    try:
        value = headers.get("Retry-After")
    except AttributeError:
        return None
    return seconds_of(value) if isinstance(value, str) else None


def seconds_of(value: str, now_s: float | None = None) -> float | None:
    """The header's value in seconds from now, 0 or more: it is a number of seconds, or a date of HTTP.

    Args:
        value: as the server wrote it, so perhaps anything.
        now_s: seconds since the epoch; default: by this machine's clock, which is all there is to compare a date with.
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    if len(value) > _LONGEST:
        return None
    try:
        due_s = parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, due_s - (time.time() if now_s is None else now_s))
