"""What goes wrong with time; the branch of the tree of errors that :mod:`hardening.core.errors` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardening.core.root_error import HardeningError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardening.delivery.receipt import Transition

__all__ = ["CallTimeout", "TimeoutFailure", "UnboundedWait"]


class TimeoutFailure(HardeningError):
    """Something about how long things may take."""


class CallTimeout(TimeoutFailure, TimeoutError):
    """The result of a call did not come in time; the call was cancelled, as far as that is possible.

    Attributes:
        receipt_id: the id of its receipt; empty: there was no time left to send it.
        operation: under which name it was timed.
        timeout_s: how long was waited, in seconds.
        state: how far its message had got, as a ``DeliveryStatus`` says it.
        history: its transitions so far.
        is_cancelled: whether it was cancelled, and will never run; otherwise it runs, has just ended, or nobody knows.
    """

    def __init__(
        self,
        receipt_id: str,
        operation: str,
        timeout_s: float,
        *,
        state: str = "unknown",
        history: Sequence[Transition] = (),
        is_cancelled: bool = False,
    ) -> None:
        self.receipt_id = receipt_id
        self.operation = operation
        self.timeout_s = timeout_s
        self.state = state
        self.history = tuple(history)
        self.is_cancelled = is_cancelled
        if not receipt_id:
            text = f"{operation} was not called: no time is left"
        else:
            told = ", and was cancelled" if is_cancelled else "; it could not be cancelled"
            text = f"{operation}[{receipt_id}] gave no result within {timeout_s:.3g} s: it was {state}{told}"
        super().__init__(text)


class UnboundedWait(TimeoutFailure):
    """A result was waited for without a timeout, which ``hardening_unbounded_get`` forbids.

    Attributes:
        operation: what was waited for.
    """

    def __init__(self, operation: str) -> None:
        self.operation = operation
        super().__init__(
            f"{operation} without a timeout may wait for ever: pass timeout=, or set hardening_unbounded_get to enforce"
        )
