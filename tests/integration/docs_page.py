"""Runs the Python of one page of the documentation: its blocks in order, in one namespace that has ``app``.

Where a page names the broker of a reader, ``redis://localhost/0``, it gets that of the test.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from celery import Celery

from hardening import harden

__all__ = ["blocks", "run"]

_READERS = "redis://localhost/0"


def blocks(page: Path) -> list[tuple[int, str]]:
    """The blocks marked ``python``, each with the number of the line before it."""
    found: list[tuple[int, str]] = []
    inside: list[str] | None = None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if inside is None and line == "```python":
            inside, begin = [], number
        elif inside is not None and line == "```":
            found.append((begin, "\n".join(inside)))
            inside = None
        elif inside is not None:
            inside.append(line)
    return found


def run(page: Path, broker: str, prefix: str) -> None:
    """Runs them; nobody works for the app, or for those that the page makes."""
    os.environ["HARDENING_PREFIX"] = prefix
    app = Celery("docs", broker=broker)
    app.conf.update(task_default_queue=f"q.{prefix}", hardening_prefix=prefix)
    namespace: dict[str, Any] = {"app": harden(app), "__name__": f"docs.{page.stem}"}
    for number, source in blocks(page):
        code = compile("\n" * number + source.replace(_READERS, broker), str(page), "exec")
        exec(code, namespace)  # noqa: S102 - our own documentation
    app.close()


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
