"""Where and on what the numbers were made."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["describe", "is_busy"]

_PACKAGES = {"celery": "celery", "kombu": "kombu", "redis-py": "redis", "hiredis": "hiredis"}
_ROOT = Path(__file__).parents[1]


def describe(client: Redis) -> dict[str, Any]:
    """Versions, processors, load and date.

    Args:
        client: of a server like those that are measured.
    """
    server: Any = client.info("server")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu_count": os.cpu_count(),
        "cpu": _processor(),
        "system": platform.platform(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "versions": {
            "python": platform.python_version(),
            **{name: version(package) for name, package in _PACKAGES.items()},
            "redis server": server["redis_version"],
        },
    }


def is_busy(about: dict[str, Any]) -> bool:
    """Whether something else kept the processors when the run began."""
    return float(about["load"][0]) > 0.25 * int(about["cpu_count"] or 1)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _commit() -> str:
    """The commit measured, with ``-dirty`` when files differ from it; empty outside of a checkout."""
    if shutil.which("git") is None:
        return ""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=_ROOT, capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    return found.stdout.strip()
