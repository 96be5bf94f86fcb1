"""What a waiter concludes from what a receipt says, whoever waits, and however: in a thread, or in an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from hardening.core.errors import ConfirmTimeout, MessageDied, ReceiptNotFound
from hardening.core.membership import boot_clock_s
from hardening.delivery.receipt_state import RANK, DeliveryStatus, history_of, status_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Wait"]

#: How soon a waiter looks again for what is not in Redis yet, but may be in a spool, in seconds.
_SPOOLED_S = 0.25


class Wait:
    """One wait for one message.

    Args:
        receipt: the id of its receipt.
        state: how far it must get.
        timeout_s: the longest to wait, counted from now, in seconds.

    Raises:
        ValueError: there is no such state to wait for.
    """

    def __init__(self, receipt: str, state: str, timeout_s: float) -> None:
        self._receipt = receipt
        self._state = state
        self._rank = RANK.get(status_of({"state": state}), 0)
        if not self._rank:
            raise ValueError(f"cannot wait for {state!r}, expected queued, claimed, started or acked")
        self._timeout_s = timeout_s
        self._until_s = boot_clock_s() + timeout_s

    @property
    def left_s(self) -> float:
        """How much of the time is left, in seconds; less than none when it is up."""
        return self._until_s - boot_clock_s()

    @staticmethod
    def pause_s(fields: Mapping[str, str], left_s: float) -> float:
        """For how long to wait for a change before looking again, in seconds."""
        return left_s if fields else min(left_s, _SPOOLED_S)

    def ended_here(self, fields: Mapping[str, str]) -> DeliveryStatus:
        """How a task ended that ran in this process.

        Raises:
            MessageDied: it raised.
        """
        if status_of(fields) is DeliveryStatus.ACKED:
            return DeliveryStatus.ACKED
        raise MessageDied(self._receipt, fields["reason"])

    def reached(self, fields: Mapping[str, str]) -> DeliveryStatus | None:
        """Where the message is, if it has got as far as is waited for; None: it has not.

        Raises:
            MessageDied: it never will.
        """
        status = status_of(fields)
        if any(RANK.get(seen.state, 0) >= self._rank for seen in history_of(fields)):
            return status
        if status is DeliveryStatus.DEAD:
            raise MessageDied(self._receipt, fields.get("reason", "unknown"))
        return None

    def give_up(self, fields: Mapping[str, str]) -> NoReturn:
        """Time is up.

        Raises:
            ConfirmTimeout: the message has not got there.
            ReceiptNotFound: there is none.
        """
        status = status_of(fields)
        if status is DeliveryStatus.UNKNOWN:
            raise ReceiptNotFound(self._receipt)
        raise ConfirmTimeout(self._receipt, self._state, status, self._timeout_s)
