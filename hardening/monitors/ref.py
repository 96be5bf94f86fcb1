"""Monitors, as those who set them and those who look at them have them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.scripts.monitoring import Found

__all__ = ["DURABLE", "Monitor", "MonitorRef", "tag_of"]

#: What the ids of durable monitors begin with; that of another begins with its owner's host and process id.
DURABLE = "durable:"


@dataclass(frozen=True, slots=True)
class MonitorRef:
    """What :func:`~hardening.monitors.monitor` returns and :func:`~hardening.monitors.demonitor` takes.

    Attributes:
        id: of the monitor.
        target: what is monitored, as ``kind:name``; of a worker its consumer, if it was found.
        tag: as the owner gave it.
        app: over whose broker.
        pid: the process that set it.
        is_kept: whether Redis has it; if not, its target was not there, or it will (``when="later"``).
    """

    id: str
    target: str
    tag: str
    app: Celery
    pid: int
    is_kept: bool = True

    @classmethod
    def of_id(cls, monitor_id: str, app: Celery) -> MonitorRef:
        """A monitor of which no more than the id is known.

        Raises:
            ValueError: that is no id.
        """
        if not monitor_id.rpartition("#")[0]:
            raise ValueError(f"{monitor_id!r} is no monitor's id: expected one as 'celery monitors list' shows it")
        return cls(monitor_id, "", "", app, 0)


@dataclass(frozen=True, slots=True)
class Monitor:
    """One monitor, as it is kept in Redis. What its owner said of it is not trusted.

    Attributes:
        id: of the monitor.
        owner: the process that set it: host, process id and a number.
        is_durable: whether it stays when that process, or task, has ended.
        task: id of the task that set it, and with which it ends unless it is durable; empty: the process did.
        task_name: the name of that task.
        target: what is monitored, as ``kind:name``.
        tag: as its owner gave it.
        since: when it was set, by the clock of Redis.
        age_s: how old it is, in seconds.
        leak_after_s: how old it may get, in seconds.
        stack: where it was set, the innermost first; empty: that was not asked for.
        is_leaked: whether it was reported as a leak.
        on_down: ``task:<name>`` when a task is sent, else ``owner``: it alone is told.
    """

    id: str
    owner: str
    is_durable: bool
    task: str
    task_name: str
    target: str
    tag: str
    since: datetime
    age_s: float
    leak_after_s: float
    stack: tuple[str, ...]
    is_leaked: bool
    on_down: str

    @classmethod
    def of(cls, found: Found, now_ms: int) -> Monitor:
        """What the scripts found."""
        about = _read(found.about)
        stack = about.get("stack")
        is_durable = found.id.startswith(DURABLE)
        return cls(
            id=found.id,
            owner=str(about.get("owner") or "") if is_durable else found.id.rpartition("#")[0],
            is_durable=is_durable,
            task=str(about.get("task") or ""),
            task_name=str(about.get("task_name") or ""),
            target=found.target,
            tag=str(about.get("tag") or ""),
            since=datetime.fromtimestamp(found.since_ms / 1000, UTC),
            age_s=max(0.0, (now_ms - found.since_ms) / 1000),
            leak_after_s=(found.due_ms - found.since_ms) / 1000,
            stack=tuple(str(frame) for frame in stack) if isinstance(stack, list) else (),
            is_leaked=found.is_leaked,
            on_down=f"task:{_task_of(about)}" if found.has_task else "owner",
        )

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {**asdict(self), "since": self.since.isoformat()}


def tag_of(about: str) -> str:
    """The tag, of what is said of a monitor."""
    return str(_read(about).get("tag") or "")


def _read(about: str) -> dict[str, Any]:
    try:
        said = json.loads(about)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _task_of(about: dict[str, Any]) -> str:
    signature = about.get("on_down")
    return str(signature.get("task") or "") if isinstance(signature, dict) else ""
