"""What became of a broadcast, recipient by recipient."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, get_args

from hardening.core.errors import BroadcastFailed, MessageDied
from hardening.delivery.receipt import DeliveryStatus
from hardening.delivery.recipients import recipients_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardening.delivery.receipt import Receipt
    from hardening.delivery.recipients import AnyRecipient, Recipient

__all__ = ["STRATEGIES", "BroadcastResult", "Outcome", "OutcomeStatus", "Strategy"]

#: What makes a broadcast a success.
Strategy = Literal["best_effort", "at_least_one", "all_or_nothing"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


class OutcomeStatus(StrEnum):
    """What became of the message of one recipient, by the end of the broadcast."""

    #: It got as far as was asked.
    CONFIRMED = "confirmed"
    #: Redis has it; nobody waited for it any longer, because another was confirmed.
    PENDING = "pending"
    #: Redis has it, but it did not get as far as was asked in time.
    LATE = "late"
    #: It is in the spool of this host.
    SPOOLED = "spooled"
    #: It died before it got as far as was asked.
    DEAD = "dead"
    #: It was not published, for this recipient cannot have it.
    REFUSED = "refused"
    #: It was not published, for another recipient was refused, and it was all or nothing.
    WITHHELD = "withheld"
    #: It was not published, as far as is known.
    UNSENT = "unsent"


#: Of what Redis has: what can still happen to it, by where it was last seen.
_PROSPECTS = {
    DeliveryStatus.SCHEDULED: "it is queued when it is due",
    DeliveryStatus.QUEUED: "it runs when a consumer takes it, also one that comes back later",
    DeliveryStatus.CLAIMED: "its worker is about to run it; should that die, the message goes back to its queue",
    DeliveryStatus.STARTED: "it runs; should its worker die, it runs again",
    DeliveryStatus.ACKED: "it is done",
    DeliveryStatus.DEAD: "if it is kept, it stays in the dead-letter queue until it is replayed or trimmed",
    DeliveryStatus.SPOOLED: "this host sends it when Redis is back",
    DeliveryStatus.UNKNOWN: "its receipt tells where it is, if Redis still has it",
}
_UNPUBLISHED = (OutcomeStatus.REFUSED, OutcomeStatus.WITHHELD, OutcomeStatus.UNSENT)
#: Reasons of death that leave no dead letter.
_FOR_GOOD = ("cancelled", "purged")
_NOTHING = "it may be sent again, for nothing has it"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the message of one recipient.

    Attributes:
        recipient: whose it is.
        status: what became of it.
        receipt: follows it further.
        state: where it was last seen; ``unknown``: nowhere.
        error: why it is not confirmed; None where it is, or was not waited for.
        is_uncertain: an attempt that failed may have published it all the same; its receipt tells, once Redis is back.
    """

    recipient: Recipient
    status: OutcomeStatus
    receipt: Receipt
    state: DeliveryStatus = DeliveryStatus.UNKNOWN
    error: Exception | None = None
    is_uncertain: bool = False

    @property
    def is_confirmed(self) -> bool:
        """Whether it got as far as was asked."""
        return self.status is OutcomeStatus.CONFIRMED

    @property
    def is_failed(self) -> bool:
        """Whether it did not, as opposed to one that nobody waited for."""
        return self.status not in (OutcomeStatus.CONFIRMED, OutcomeStatus.PENDING)

    @property
    def is_nowhere(self) -> bool:
        """Whether nothing has it, so that sending it again makes no second message."""
        return self.status in _UNPUBLISHED and not self.is_uncertain

    @property
    def prospect(self) -> str:
        """What can still happen to it, as a sentence."""
        if self.is_uncertain and self.status in _UNPUBLISHED:
            return "it may have been published, for the answer was lost: its receipt tells, once Redis is back"
        if self.is_nowhere:
            return _NOTHING
        if isinstance(self.error, MessageDied) and self.error.reason in _FOR_GOOD:
            return f"{self.error.reason}: it will not run"
        return f"{self.state}: {_PROSPECTS[self.state]}"

    def __str__(self) -> str:
        if self.status is OutcomeStatus.REFUSED:
            return f"{self.error}; {self.prospect}"
        why = f": {self.error}" if self.error else ""
        return f"{self.recipient} is {self.status}{why}; {self.prospect}"


@dataclass(frozen=True, slots=True)
class BroadcastResult:
    """What became of a broadcast. Also a sequence of its outcomes, and a mapping from recipients to theirs.

    Attributes:
        task: the name of the task.
        strategy: what makes it a success.
        confirm: how far each message was to get.
        outcomes: one for each recipient, in the order in which they were given.
    """

    task: str
    strategy: Strategy
    confirm: str
    outcomes: tuple[Outcome, ...]

    @property
    def ok(self) -> bool:
        """Whether it is a success: one recipient is confirmed with ``at_least_one``, all of them otherwise."""
        confirmed = [one.is_confirmed for one in self.outcomes]
        return any(confirmed) if self.strategy == "at_least_one" else all(confirmed)

    @property
    def confirmed(self) -> list[Outcome]:
        """Those that got as far as was asked."""
        return [one for one in self.outcomes if one.is_confirmed]

    @property
    def failed(self) -> list[Outcome]:
        """Those that did not. Most may still get there, see :attr:`Outcome.prospect`."""
        return [one for one in self.outcomes if one.is_failed]

    @property
    def refused(self) -> list[Outcome]:
        """Those that cannot have their message."""
        return [one for one in self.outcomes if one.status is OutcomeStatus.REFUSED]

    @property
    def receipts(self) -> list[Receipt]:
        """The receipts of all recipients, in order."""
        return [one.receipt for one in self.outcomes]

    def raise_for_failures(self) -> None:
        """Raises unless it is a success.

        Raises:
            BroadcastFailed: with this result.
        """
        if not self.ok:
            raise BroadcastFailed(self)

    def __getitem__(self, recipient: AnyRecipient) -> Outcome:
        """The outcome of a recipient; one that was named twice, or shares a queue, has one of both.

        Raises:
            KeyError: it was not a recipient.
        """
        (asked,) = recipients_of([recipient])
        for one in self.outcomes:
            if one.recipient.queue == asked.queue:
                return one
        raise KeyError(str(asked))

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)
