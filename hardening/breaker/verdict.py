"""What an exception says of the service behind a breaker."""

from __future__ import annotations

from enum import Enum

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celery.exceptions import Ignore, Reject, Retry, TaskRevokedError, Terminated

from hardening.breaker.errors import CircuitOpen

__all__ = ["Verdict", "judge"]

#: They ask Celery for something, or say that no call was made.
_NEITHER = (Ignore, Reject, Terminated, TaskRevokedError, CircuitOpen)
#: No answer came.
_NO_ANSWER = (WorkerLostError, TimeLimitExceeded, SoftTimeLimitExceeded)


class Verdict(Enum):
    """How a call ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    NEITHER = "neither"


def judge(error: BaseException | None, counts: tuple[type[BaseException], ...] | None = None) -> Verdict:
    """How a call ended that raised, or did not.

    A retry is judged by the exception that it carries, for that is how the call ended; ``self.retry()`` without one
    says nothing. With ``counts``, other exceptions count as successes: the service answered. A call that ran out of
    time, or whose process died, failed in any case.

    Args:
        error: what was raised; None: nothing.
        counts: the exceptions that are failures; None: every ``Exception``.
    """
    if error is None:
        return Verdict.SUCCEEDED
    if counts is not None and isinstance(error, counts):
        return Verdict.FAILED
    if isinstance(error, Retry):
        return judge(error.exc, counts) if error.exc is not None else Verdict.NEITHER
    if isinstance(error, _NO_ANSWER):
        return Verdict.FAILED
    if isinstance(error, _NEITHER) or not isinstance(error, Exception):
        return Verdict.NEITHER
    return Verdict.FAILED if counts is None else Verdict.SUCCEEDED
