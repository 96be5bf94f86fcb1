"""Dead letters as lines of JSON: the archive, exports, and what is read back from them.

One object a line: ``id``, ``fields`` (text as it is, with bytes that are no UTF-8 escaped as Python does it) and
``raw``, the message in base64. What was masked says so, and cannot be imported.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["append_to", "as_line"]

#: Fields that say where a letter is, not what it is.
_PLACE = frozenset({b"raw", b"group"})


def as_line(entry_id: str, fields: Mapping[bytes, bytes]) -> str:
    """One dead letter, whole, as one line of JSON."""
    text = {_str(name): _str(value) for name, value in fields.items() if name not in _PLACE}
    raw = base64.b64encode(fields.get(b"raw", b"")).decode()
    return json.dumps({"id": entry_id, "fields": text, "raw": raw})


def _str(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def append_to(path: str, letters: Iterable[tuple[bytes, Any]]) -> None:
    """Appends dead letters, as the stream has them, to a file that only its owner may read, and has them on disk.

    Raises:
        OSError: they may not be there.
    """
    is_new = not Path(path).exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="ascii") as file:
        file.writelines(f"{as_line(entry_id.decode(), fields)}\n" for entry_id, fields in letters)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        directory = os.open(Path(path).resolve().parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
