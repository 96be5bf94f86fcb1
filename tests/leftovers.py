"""Fails when tests leave processes behind.

``--before`` notes what runs, ``--after`` compares: any Redis, Celery worker or Sentinel that is new and still
there after a short while is a fault.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil

from tests.eventually import eventually

_NOTE = Path(".pytest_cache") / "processes.json"
_SUSPECT = ("redis-server", "valkey-server", "celery", "examples.webhooks", "examples.orders")


def suspects() -> dict[int, str]:
    """Processes of the kinds that tests start, zombies aside, by pid."""
    found = {}
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        is_alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if is_alive and any(name in line for name in _SUSPECT) and "tests.leftovers" not in line:
            found[process.info["pid"]] = line[:150]
    return found


def main(moment: str) -> int:
    """Notes or compares; the exit code."""
    if moment == "--before":
        _NOTE.parent.mkdir(exist_ok=True)
        _NOTE.write_text(json.dumps(sorted(suspects())))
        return 0
    known = set(json.loads(_NOTE.read_text()))
    try:
        eventually(lambda: not set(suspects()) - known, 10)
    except AssertionError:
        left = {pid: line for pid, line in suspects().items() if pid not in known}
        sys.stderr.writelines(f"left behind: {pid} {line}\n" for pid, line in left.items())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
