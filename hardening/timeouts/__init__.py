"""How long anything may take: one table, deadlines that travel, calls that give up."""

from __future__ import annotations

from hardening.timeouts.calling import call_with_timeout
from hardening.timeouts.deadline import deadline, remaining
from hardening.timeouts.errors import CallTimeout, TimeoutFailure, UnboundedWait
from hardening.timeouts.lookup import set_timeout, timeout_for, unset_timeout

__all__ = [
    "CallTimeout",
    "TimeoutFailure",
    "UnboundedWait",
    "call_with_timeout",
    "deadline",
    "remaining",
    "set_timeout",
    "timeout_for",
    "unset_timeout",
]
