"""The conservation law: what came in is somewhere, at every instant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardening.core.keys import PRIORITY_STEPS, UNACKED
from hardening.core.scripts.calls import verify

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.keys import Keys

__all__ = ["Ledger", "read_ledger"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every number of the law, read at one instant.

    ``published + adopted + replayed = acked + dead + purged + scheduled + queued + inflight``, and of the dead:
    ``dead + imported = letters + replayed + discarded + trimmed + dropped``

    Attributes:
        counters: every counter there is, statistics included.
        inflight: taken and not settled.
        scheduled: held until due.
        stray: due times without a message, or the other way round; always 0 unless somebody else wrote there.
        queued: in queues the ledger covers, without those of stock producers.
        stock: of stock producers, waiting; they enter the ledger when taken.
        unseen: queued beyond the number that was looked at, counted as ours.
        unacked: held by stock workers, or left behind by them.
        letters: dead letters there are.
        grouped: dead letters that filters and statistics know of; always the same number.
    """

    counters: dict[str, int]
    inflight: int
    scheduled: int
    stray: int
    queued: int
    stock: int
    unseen: int
    unacked: int
    letters: int
    grouped: int

    @property
    def came_in(self) -> int:
        """The left side of the law."""
        return sum(self.counters.get(name, 0) for name in ("published", "adopted", "replayed"))

    @property
    def accounted(self) -> int:
        """The right side of the law."""
        ended = sum(self.counters.get(name, 0) for name in ("acked", "dead", "purged"))
        return ended + self.scheduled + self.queued + self.inflight

    @property
    def missing(self) -> int:
        """Messages that came in and are nowhere; negative: there are more than came in."""
        return self.came_in - self.accounted

    @property
    def missing_letters(self) -> int:
        """Dead letters that were buried and are nowhere; negative: somebody else wrote some."""
        count = self.counters.get
        left = sum(count(name, 0) for name in ("replayed", "discarded", "trimmed", "dropped"))
        return count("dead", 0) + count("imported", 0) - left - self.letters

    @property
    def is_balanced(self) -> bool:
        """Whether the law holds."""
        return not (self.missing or self.stray or self.missing_letters) and self.letters == self.grouped


def read_ledger(client: Redis, keys: Keys, *, look_at: int = 10_000) -> Ledger:
    """Reads the ledger in one atomic script.

    Args:
        client: replies must not be decoded.
        keys: the deployment's keys.
        look_at: how many queued messages to look at for stock producers' ones; about 2 ms for 10,000.
    """
    call = verify(keys, limit=look_at, steps=PRIORITY_STEPS, unacked=UNACKED)
    flat, inflight, scheduled, stray, queued, seen, stock, unacked, *letters = call.run(client)
    names = iter(flat)
    counters = {name.decode(): int(value) for name, value in zip(names, names, strict=True)}
    return Ledger(counters, inflight, scheduled, stray, queued - stock, stock, queued - seen, unacked, *letters)
