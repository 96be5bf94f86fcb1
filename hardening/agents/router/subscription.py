"""One subscription, as Redis keeps it and as it is shown."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hardening.agents.router.pattern import pattern_words
from hardening.agents.router.subscriber import Subscriber  # noqa: TC001 - pydantic looks it up

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Record", "Subscription", "records_in"]

State = Literal["live", "silent", "over"]


class Record(BaseModel):
    """What Redis keeps of a subscription, besides its tie and when it ends.

    Attributes:
        pattern: of the signals.
        to: who is told.
        ttl_ms: its time to live; 0: it has none.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    pattern: str
    to: Subscriber
    ttl_ms: int = Field(default=0, ge=0)

    @property
    def words(self) -> list[str]:
        """Of the pattern."""
        return pattern_words(self.pattern)

    @property
    def id(self) -> str:
        """The same for the same pattern and subscriber; that of one tied to a worker is longer by its name."""
        return hashlib.sha256(f"{self.pattern} {self.to.key}".encode()).hexdigest()[:16]

    @classmethod
    def parse(cls, text: bytes) -> tuple[str, Self] | None:
        """The tie and the record of what Redis has; None: nobody of ours wrote it."""
        tie, _, about = text.partition(b"\x1f")
        try:
            record = cls.model_validate_json(about)
            pattern_words(record.pattern)
        except (ValidationError, ValueError):
            return None
        return tie.decode("utf-8", "replace"), record


def records_in(parts: Sequence[bytes]) -> Iterator[tuple[str, tuple[str, Record] | None]]:
    """The subscriptions of a reply, by their ids; None: there is none any more."""
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        yield name.decode("utf-8", "replace"), Record.parse(text)


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who is told of which signals.

    Attributes:
        id: its name, by which it is ended.
        pattern: of the signals.
        subscriber: who is told.
        tied_to: what it ends with: ``worker:<consumer>``, ``agent:<queue>``, or nothing.
        ttl_s: its time to live when it is renewed, in seconds; None: it has none.
        left_s: how much of that was left when it was read, in seconds; None likewise.
        state: ``live``; ``silent``: the lease of its worker ran out, and nothing gets to it; ``over``: it is about to
            be removed.
        why: it is not live.
    """

    id: str
    pattern: str
    subscriber: Subscriber
    tied_to: str = ""
    ttl_s: float | None = None
    left_s: float | None = None
    state: State = "live"
    why: str = ""
