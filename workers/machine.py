"""How the machine is that this process runs on, from Linux's ``/proc`` and cgroups; nothing elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

__all__ = ["MachineLook", "look_at_machine"]

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


class MachineLook(NamedTuple):
    """What was seen.

    Attributes:
        boot: tells this machine, and this time that it runs, from others; empty: unknown.
        busy: how long its processors have been at work since it was booted, in ticks.
        total: the same with how long they had nothing to do.
        memory: the share of memory that is in use, of the container's where that is bounded; None: unknown.
        disk: the share of the disk that is in use; None: unknown.
    """

    boot: str
    busy: int
    total: int
    memory: float | None
    disk: float | None


def look_at_machine(disk: str, proc: Path = _PROC, cgroup: Path = _CGROUP) -> MachineLook:
    """Looks; what cannot be read is unknown.

    Args:
        disk: a path on the disk that matters.
        proc: where ``/proc`` is.
        cgroup: where the cgroup of this process is, as a container sees it.
    """
    boot = _read(proc / "sys/kernel/random/boot_id").strip()
    ticks = [int(word) for word in _read(proc / "stat").partition("\n")[0].split()[1:9]]
    idle = sum(ticks[3:5])
    return MachineLook(boot if ticks else "", sum(ticks) - idle, sum(ticks), _memory(proc, cgroup), _disk(disk))


def _memory(proc: Path, cgroup: Path) -> float | None:
    bound, used = _read(cgroup / "memory.max").strip(), _read(cgroup / "memory.current").strip()
    if bound.isdigit() and used.isdigit() and int(bound):
        cached = dict(line.split() for line in _read(cgroup / "memory.stat").splitlines()).get("inactive_file", "0")
        return max(0, int(used) - int(cached)) / int(bound)
    sizes = dict(line.split(":", 1) for line in _read(proc / "meminfo").splitlines() if ":" in line)
    try:
        return 1 - int(sizes["MemAvailable"].split()[0]) / int(sizes["MemTotal"].split()[0])
    except KeyError:
        return None


def _disk(path: str) -> float | None:
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    return usage.used / (usage.used + usage.free) if usage.used + usage.free else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
