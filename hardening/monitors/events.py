"""What happens to monitors, as events; see :mod:`hardening.core.telemetry`."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = [
    "MonitorDown",
    "MonitorLeaked",
    "MonitorNoticeSent",
    "MonitorTellFailed",
    "MonitorsOrphaned",
    "MonitorsRenewed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorDown(Event):
    """A monitor of this process was told that its target is down."""

    name = "hardening.monitor.down"
    monitor: str  #: its id
    target: str  #: what was monitored
    tag: str  #: as its owner gave it
    reason: str  #: ``exited``, ``crashed``, ``lease_lost`` or ``unknown``


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorLeaked(Event):
    """A monitor is older than its owner said it would get; told once in a deployment, by whoever noticed."""

    name = "hardening.monitor.leaked"
    is_alarming = True
    monitor: str  #: its id
    target: str  #: what is monitored
    tag: str  #: as its owner gave it
    task: str  #: the task that owns it; empty: its process does
    age_s: float  #: how old it is
    stack: tuple[str, ...]  #: where it was set, the innermost first; empty: that is not kept


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorsOrphaned(Event):
    """An owner is dead, or the time of a durable monitor is over; its monitors were removed."""

    name = "hardening.monitor.orphaned"
    owner: str  #: which
    removed: int  #: how many there were


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorsRenewed(Event):
    """Redis had forgotten monitors of this process, which lives; they were set again."""

    name = "hardening.monitor.renewed"
    is_alarming = True
    owner: str  #: this process
    renewed: int  #: how many


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorNoticeSent(Event):
    """A down was told by a task."""

    name = "hardening.monitor.notice_sent"
    monitor: str  #: its id
    task: str  #: the name of the task
    receipt: str  #: of its message


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorTellFailed(Event):
    """What was to be called, or sent, when a target is down, failed; it is not tried again."""

    name = "hardening.monitor.tell_failed"
    is_alarming = True
    monitor: str  #: its id
    error: str  #: what was raised
