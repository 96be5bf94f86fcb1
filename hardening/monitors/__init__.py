"""Monitors: being told when something else ends.

As in Erlang (``erlang:monitor/2``), a process or task watches another, or a queue or message, one way and any number of
times, and is told once, with the reason, when that is down. A monitor ends with its owner.
"""

from __future__ import annotations

from hardening.monitors.awatching import ademonitor, amonitor, amonitoring
from hardening.monitors.down import Down, DownReason
from hardening.monitors.reading import MonitorFilter, MonitorStats, find_leaks, list_monitors, stats
from hardening.monitors.ref import Monitor, MonitorRef
from hardening.monitors.target import Target
from hardening.monitors.watching import demonitor, monitor, monitoring

__all__ = [
    "Down",
    "DownReason",
    "Monitor",
    "MonitorFilter",
    "MonitorRef",
    "MonitorStats",
    "Target",
    "ademonitor",
    "amonitor",
    "amonitoring",
    "demonitor",
    "find_leaks",
    "list_monitors",
    "monitor",
    "monitoring",
    "stats",
]
