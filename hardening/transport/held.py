"""One message in flight, as the process that took it knows it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from hardening.core import raw as raw_message
from hardening.core import telemetry
from hardening.core.agent_keys import MAILBOX_HEAD
from hardening.core.keys import queue_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hardening.core.scripts import TakenMessage

__all__ = ["Held", "Why", "tell_late", "tell_released"]

#: Why a message is given back: the breaker of its task is open; its queue is no longer consumed from; the lease ran
#: out, or Redis fell silent, before it was begun; it is not due yet; its task, or who received it, asked for it; its
#: process stops; it is one crash from burial, and another such runs here.
Why = Literal["breaker", "cancelled", "lapsed", "not_due", "requeued", "stopping", "suspect"]


@dataclass(eq=False)
class Held:
    """A message this process took and has not settled.

    Attributes:
        consumer: the name under which it was taken.
        list_key: the list it came from.
        seq: its number among all takes.
        crashes: how often it has crashed a process before.
        raw: its bytes, never changed.
        version: of a mailbox: the mark of the version of its agent's state.
        begun: whether the task has been started here.
        gone: whether it was taken away, because the lease was lost or somebody wants it cancelled.
        cancelled: whether it was cancelled, so that nobody will ever run it.
    """

    consumer: str
    list_key: str
    seq: int
    crashes: int
    raw: bytes
    version: str = ""
    begun: bool = False
    gone: bool = False
    cancelled: bool = False

    @classmethod
    def of(cls, consumer: str, taken: TakenMessage) -> Held:
        """What a take brought, held under a consumer's name."""
        return cls(consumer, taken.list_key, taken.seq, taken.crashes, taken.raw, taken.version)

    @property
    def queue(self) -> str:
        """The queue it came from."""
        return queue_of(self.list_key)

    @property
    def mailbox(self) -> str:
        """The same, where it may be a mailbox, of which nothing is taken before this is settled; else empty."""
        return queue_of(self.list_key) if self.list_key.startswith(MAILBOX_HEAD) else ""

    @property
    def message_id(self) -> str:
        """The message's id."""
        return raw_message.message_id(self.raw)

    @cached_property
    def mark(self) -> str:
        """Its seq as the ack script takes it: with ``+`` when there is more to update than the entry."""
        more = self.crashes or raw_message.receipt_id(self.raw)
        return f"{self.seq}+" if more else str(self.seq)


def tell_late(held: Held, removed: int) -> None:
    """Tells that a message was acknowledged late, if it was: not that an ack was repeated after a lost reply."""
    if removed or held.gone:
        telemetry.emit(telemetry.LateAcked(message=held.message_id, removed=bool(removed)))


def tell_released(many: Iterable[Held], why: Why) -> None:
    """Tells that messages went back."""
    for held in many:
        telemetry.emit(telemetry.MessageReleased(queue=held.queue, why=why))
