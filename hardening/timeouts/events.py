"""What happens to timeouts, as events; see :mod:`hardening.core.telemetry`."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = [
    "CallTimedOut",
    "DeadlineExpired",
    "ThreadLost",
    "ThreadReturned",
    "TimeoutsChanged",
    "TimeoutsNotRead",
    "WaitBounded",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutsChanged(Event):
    """This process has taken up timeouts that were set for all processes."""

    name = "hardening.timeouts.changed"
    rules: int  #: how many are set for all processes now
    ignored: int  #: how many in Redis make no sense, and are not in force


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutsNotRead(Event):
    """What is set for all processes could not be read; told once until it can be. What was read last stays in force."""

    name = "hardening.timeouts.not_read"
    is_alarming = True
    error: str  #: what Redis, or the way to it, answered


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimedOut(Event):
    """The result of a call did not come in time."""

    name = "hardening.call.timed_out"
    is_alarming = True
    operation: str  #: under which name it was timed
    receipt: str  #: the id of its receipt
    timeout_s: float  #: how long was waited
    state: str  #: how far its message had got


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineExpired(Event):
    """Work came too late: its deadline had passed before it was begun."""

    name = "hardening.deadline.expired"
    message: str  #: its id
    task: str  #: its task's name
    late_ms: int  #: how long ago the deadline was, by the clock of Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitBounded(Event):
    """A result was waited for without a timeout; told once for each line that does so."""

    name = "hardening.wait.bounded"
    is_alarming = True
    operation: str  #: what was waited for
    line: str  #: file and line of the caller
    timeout_s: float  #: what is in force instead; 0: nothing is


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadLost(Event):
    """A task in a thread has not ended after its hard time limit; another thread takes the place."""

    name = "hardening.thread.lost"
    is_alarming = True
    thread: int  #: its number
    stack: str  #: where it is


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadReturned(Event):
    """A thread that had been given up has ended its task after all."""

    name = "hardening.thread.returned"
    thread: int  #: its number
