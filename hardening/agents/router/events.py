"""What happens to signals, as events; see :mod:`hardening.core.telemetry`."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = ["SignalDropped", "SignalEmitted", "SignalSpooled", "SignalSubscribed", "SignalUnsubscribed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalEmitted(Event):
    """Redis has a message of a signal for each of its subscribers that could have one."""

    name = "hardening.signal.emitted"
    signal: str  #: its name
    routed: int  #: how many subscribers have it
    dropped: int  #: how many messages were dropped for it
    took_s: float  #: how long the emitter waited


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalDropped(Event):
    """A subscriber has not got a signal, or has lost an older message to it."""

    name = "hardening.signal.dropped"
    is_alarming = True
    signal: str  #: its name
    subscriber: str  #: whose
    reason: str  #: ``mailbox_full``, ``mailbox_full_oldest``, ``not_a_queue`` or ``worker_silent``


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSpooled(Event):
    """A signal was kept to be emitted by a worker, because Redis is away."""

    name = "hardening.signal.spooled"
    signal: str  #: its name
    receipt: str  #: of the task that emits it
    why: str  #: what Redis, or the way to it, answered


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSubscribed(Event):
    """A subscription was made or changed; renewing one is no event."""

    name = "hardening.signal.subscribed"
    subscription: str  #: its id
    pattern: str  #: of the signals
    subscriber: str  #: who is told


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalUnsubscribed(Event):
    """A subscription ended."""

    name = "hardening.signal.unsubscribed"
    subscriber: str  #: who was told; its id, where it was ended by hand
    reason: str  #: ``asked``, ``expired``, ``worker_gone`` or ``agent_gone``
