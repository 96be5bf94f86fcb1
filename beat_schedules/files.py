"""Files that declare schedules: TOML, or JSON if their name says so; each top-level key is the name of an entry.

[nightly-report]
task = "shop.report"
schedule = { cron = "0 2 * * *", timezone = "Europe/Berlin" }
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

__all__ = ["read_files", "stamp_of"]


def read_files(paths: tuple[str, ...]) -> list[tuple[str, dict[str, Any] | str]]:
    """Each path with what it declares by name, or, as text, why it cannot be read."""
    return [(path, _read(path)) for path in paths]


def stamp_of(paths: tuple[str, ...]) -> tuple[object, ...]:
    """Something that is another when one of the files has been written, as far as the file system tells."""
    return tuple(_stamp(Path(path)) for path in paths)


def _stamp(path: Path) -> object:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _read(path: str) -> dict[str, Any] | str:
    try:
        text = Path(path).read_text("utf-8")
        found = json.loads(text) if path.endswith(".json") else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        return f"{type(error).__name__}: {error}"
    return found if isinstance(found, dict) else f"expected an object of entries, got a {type(found).__name__}"
