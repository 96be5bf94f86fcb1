"""Errors about signals; a branch of the tree that :mod:`hardening.core.errors` draws.

::

    SignalError                something about signals
    ├── EmitFailed             Redis did not take a signal, nor does a spool have it
    └── SubscribeFailed        there is no such subscription, for Redis did not take it
        └── SubscriberGone     what it is tied to is not there
"""

from __future__ import annotations

from hardening.core.root_error import HardeningError

__all__ = ["EmitFailed", "SignalError", "SubscribeFailed", "SubscriberGone"]

#: Why there is no subscription, and what to do.
_GONE = {
    "worker_gone": "no worker of that name lives: see `celery status`",
    "worker_silent": "that worker has lost its lease: see `celery -A APP hardening status`",
    "agent_gone": "no agent of that name is hosted, or it was stopped: start its worker first",
}


class SignalError(HardeningError):
    """Something about signals."""


class EmitFailed(SignalError):
    """Redis did not take a signal, nor does a spool have it.

    Attributes:
        signal: its name.
        attempts: how often it was tried.
        cause: what Redis, or the way to it, answered.
        is_uncertain: an attempt may have succeeded all the same.
    """

    def __init__(self, signal: str, attempts: int, cause: BaseException, *, is_uncertain: bool) -> None:
        self.signal = signal
        self.attempts = attempts
        self.cause = cause
        self.is_uncertain = is_uncertain
        unsure = ", which may have got it all the same" if is_uncertain else ""
        times = "attempt" if attempts == 1 else "attempts"
        super().__init__(f"the signal {signal} was not taken by Redis{unsure}, after {attempts} {times}: {_why(cause)}")


class SubscribeFailed(SignalError):
    """There is no such subscription, for Redis did not take it.

    Attributes:
        pattern: of the signals.
    """

    def __init__(self, pattern: str, why: str) -> None:
        self.pattern = pattern
        super().__init__(f"there is no subscription to {pattern}: {why}")

    @classmethod
    def of(cls, pattern: str, cause: BaseException) -> SubscribeFailed:
        """Told by what Redis answered."""
        return cls(pattern, f"Redis did not take it: {_why(cause)}")


class SubscriberGone(SubscribeFailed):
    """What a subscription is tied to is not there.

    Attributes:
        pattern: of the signals.
        tied_to: to what.
        reason: ``worker_gone``, ``worker_silent`` or ``agent_gone``.
    """

    def __init__(self, pattern: str, tied_to: str, reason: str) -> None:
        self.tied_to = tied_to
        self.reason = reason
        super().__init__(pattern, f"it is tied to {tied_to}, and {_GONE.get(reason, reason)}")


def _why(cause: BaseException) -> str:
    """What Redis, or the way to it, answered, in one line, and what can be done about it."""
    why = f"{type(cause).__name__}: {cause}".partition("\n")[0]
    return f"{why}; free memory or raise maxmemory" if "OutOfMemory" in why else why
