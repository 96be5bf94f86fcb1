"""Small files: fails when one is longer than the house allows."""

from __future__ import annotations

import sys
from pathlib import Path

#: Lines a Python file may have.
_MOST = 350
#: Lines of a Lua script, without its header.
_MOST_LUA = 40
_ROOMS = ("hardening", "dlq", "beat_schedules", "workers", "deploy", "tests", "examples", "benchmarks")


def too_long(root: Path) -> list[str]:
    """A line for each file that is too long."""
    faults = []
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*")):
            if path.suffix == ".py":
                lines, most = len(path.read_text().splitlines()), _MOST
            elif path.suffix == ".lua":
                body = [line for line in path.read_text().splitlines() if not line.startswith("--")]
                lines, most = len(body), _MOST_LUA
            else:
                continue
            if lines > most:
                faults.append(f"{path.relative_to(root)}: {lines} lines, at most {most}")
    return faults


if __name__ == "__main__":
    found = too_long(Path(__file__).parents[1])
    sys.stderr.writelines(f"{fault}\n" for fault in found)
    sys.exit(1 if found else 0)
