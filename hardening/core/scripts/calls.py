"""One typed function for each script. Times are in milliseconds, as Redis has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hardening.core.fingerprint import fingerprint_of
from hardening.core.keys import UNACKED, UNACKED_INDEX, queue_of
from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hardening.core.keys import Keys

__all__ = ["Buried", "Death", "Once", "Recovery", "Scope", "Taken", "TakenMessage"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What every call that touches messages says of itself.

    Args:
        keys: the deployment's keys.
        receipt_ttl_ms: how long a receipt is kept after its last change.
        worker: who does it, for receipts and dead letters.
    """

    keys: Keys
    receipt_ttl_ms: int
    worker: str

    @property
    def _head(self) -> tuple[str, int, str]:
        return (self.keys.prefix, self.receipt_ttl_ms, self.worker)

    def publish(
        self,
        list_key: str,
        queue: str,
        raw: bytes,
        *,
        due_ms: int = 0,
        receipt: Mapping[str, str] | None = None,
        once: Once | None = None,
    ) -> Call:
        """Puts a message on its queue, or holds it until due. Reply: 1, 0 when it already was, or a receipt's id.

        With ``once``, which needs a receipt, the reply is the id of the receipt that has that key already, if so.
        """
        fields = [part for pair in receipt.items() for part in pair] if receipt else ()
        keys = (list_key, self.keys.queues, *((self.keys.idempotency(once.digest),) if once else ()))
        return Call(_PUBLISH, keys, (*self._head, queue, due_ms, raw, once.window_ms if once else 0, *fields))

    def publish_many(
        self, list_key: str, queue: str, raws: Iterable[bytes], *, due_ms: int, task: str, guarantee: str
    ) -> Call:
        """Publishes messages whose receipts say the same, but for their ids. Reply: how many were new."""
        return Call(_PUBLISH_MANY, (list_key, self.keys.queues), (*self._head, queue, due_ms, task, guarantee, *raws))

    def flush(
        self,
        spool: str,
        list_key: str,
        queue: str,
        raw: bytes,
        *,
        due_ms: int = 0,
        receipt: Mapping[str, str],
        once: Once | None = None,
    ) -> Call:
        """Publishes what a spool kept. Reply: as for :meth:`publish`."""
        call = self.publish(list_key, queue, raw, due_ms=due_ms, receipt=receipt, once=once)
        listed, queues, *idempotency = call.keys
        return Call(_FLUSH, (listed, queues, self.keys.flushing(spool), *idempotency), call.args)

    def take(self, consumer: str, lists: Sequence[str], limit: int) -> Call:
        """Takes up to ``limit`` messages. Reply: see :meth:`Taken.parse`."""
        keys = self.keys
        fixed = (keys.leases, keys.inflight(consumer), keys.seq, keys.scheduled, keys.scheduled_messages, keys.crashes)
        return Call(_TAKE, (*fixed, *lists), (*self._head, consumer, limit))

    def ack(self, consumer: str, acked: Sequence[str], begun: Sequence[str] = ()) -> Call:
        """Settles and begins messages by seq (``+`` appended: look inside). Reply: entries removed."""
        keys = self.keys
        return Call(
            _ACK,
            (keys.inflight(consumer), keys.started(consumer), keys.crashes),
            (*self._head, len(acked), *acked, *begun),
        )

    def ack_late(self, list_key: str, raw: bytes) -> Call:
        """Removes the restored copy of a message that was finished after its lease. Reply: 1 or 0."""
        keys = self.keys
        return Call(_ACK_LATE, (list_key, keys.scheduled, keys.scheduled_messages, keys.crashes), (*self._head, raw))

    def release(self, consumer: str, seqs: Iterable[int], *, due_ms: int = 0, keeps_place: bool = False) -> Call:
        """Gives messages back, uncharged, now or when due; in a mailbox, maybe in their place. Reply: how many."""
        fixed = (self.keys.inflight(consumer), self.keys.started(consumer))
        return Call(_RELEASE, fixed, (*self._head, due_ms, int(keeps_place), *seqs))

    def crash(self, consumer: str, seq: int, *, max_crashes: int, base_delay_ms: int, death: Death) -> Call:
        """Charges a message. Reply: 0 given back, 1 buried, -1 not held."""
        keys = self.keys
        return Call(
            _CRASH,
            (keys.inflight(consumer), keys.started(consumer)),
            (*self._head, seq, max_crashes, base_delay_ms, death.error, death.traceback),
        )

    def recover(self, asker: str, *, max_crashes: int, base_delay_ms: int, limit: int) -> Call:
        """Moves messages of the dead back. Reply: see :meth:`Recovery.parse`."""
        keys = self.keys
        return Call(
            _RECOVER,
            (keys.leases, keys.dead, keys.members),
            (keys.prefix, self.receipt_ttl_ms, max_crashes, base_delay_ms, limit, asker),
        )

    def bury(self, consumer: str, seq: int, death: Death, *, list_key: str = "", raw: bytes = b"") -> Call:
        """Moves a message in flight to the dead-letter queue. Reply: 1, or 0 when it is not there."""
        keys = self.keys
        about = (death.reason, death.error, death.traceback, fingerprint_of(death.error, death.traceback))
        return Call(
            _BURY,
            (keys.inflight(consumer), keys.started(consumer)),
            (*self._head, seq, *about, int(death.is_kept), list_key, raw),
        )

    def replay(self, entries: Iterable[tuple[str, str, str, bytes]]) -> Call:
        """Returns dead letters, given as (entry id, group, list, rewritten raw). Reply: how many."""
        parts = [part for entry in entries for part in entry]
        return Call(_REPLAY, (self.keys.queues,), (*self._head, *parts))

    def purge(self, list_key: str, limit: int) -> Call:
        """Purges one list of a queue. Reply: how many."""
        return Call(_PURGE, (list_key,), (*self._head, limit))

    def detach(self, limit: int) -> Call:
        """Moves scheduled messages to their queues, due or not. Reply: how many."""
        return Call(_DETACH, (self.keys.scheduled, self.keys.scheduled_messages), (*self._head, limit))


def renew(keys: Keys, consumer: str, ttl_ms: int, *, join: bool, about: str, node: str = "") -> Call:
    """Renews or takes a lease. Reply: 1, 2 when there are monitors to look after, or -1 when it was taken away."""
    fixed = (keys.leases, keys.members, keys.nodes, keys.owners, keys.monitor_owed)
    return Call(_RENEW, fixed, (consumer, ttl_ms, int(join), about, node))


def leave(keys: Keys, consumer: str) -> Call:
    """Ends a lease. Reply: how many messages are left behind."""
    return Call(
        _LEAVE,
        (
            keys.leases, keys.dead, keys.members, keys.inflight(consumer), keys.started(consumer),
            keys.consuming(consumer),
        ),
        (keys.prefix, consumer),
    )  # fmt: skip


def watch(keys: Keys, receipt: str, watch_ms: int) -> Call:
    """Reads a receipt before waiting. Reply: id of the last change told of, field, value, ...; empty: no receipt."""
    return Call(_WATCH, (keys.delivery(receipt), keys.changes(receipt)), (watch_ms,))


def discard(keys: Keys, entries: Iterable[tuple[str, str]]) -> Call:
    """Purges dead letters, given as (entry id, group). Reply: how many."""
    return Call(_DISCARD, (keys.counters,), (keys.prefix, *(part for entry in entries for part in entry)))


def groups(keys: Keys) -> Call:
    """Reads the groups of dead letters. Reply: see :mod:`dlq.groups`."""
    return Call(_GROUPS, (keys.dlq, keys.dlq_groups, keys.dlq_retry), (keys.prefix,))


def count_repeat(keys: Keys) -> Call:
    """Counts a repeated publication. Reply: how many there were."""
    return Call(_COUNT_REPEAT, (keys.counters,), (1,))


def restore_stock(keys: Keys, tag: bytes, list_key: str, raw: bytes) -> Call:
    """Gives back what a stock worker left unacknowledged. Reply: 1 or 0."""
    return Call(_RESTORE_STOCK, (UNACKED, UNACKED_INDEX, list_key), (keys.prefix, tag, raw))


def verify(keys: Keys, *, limit: int, steps: Sequence[int], unacked: str) -> Call:
    """Reads the whole ledger at one instant. Reply: see :mod:`hardening.core.ledger`."""
    return Call(
        _VERIFY,
        (
            keys.counters, keys.queues, keys.leases, keys.dead,
            keys.scheduled, keys.scheduled_messages, unacked, keys.dlq, keys.dlq_groups,
        ),
        (keys.prefix, limit, ",".join(map(str, steps))),
    )  # fmt: skip


class Once(NamedTuple):
    """An idempotency key.

    Attributes:
        digest: of the key; see :mod:`hardening.delivery.idempotency`.
        window_ms: how long it is remembered.
    """

    digest: str
    window_ms: int


class Death(NamedTuple):
    """Why a message is buried.

    Attributes:
        reason: a ``dlq.Reason``, as stored.
        error: one line: the exception's type and text.
        traceback: where it was raised, if known.
        is_kept: whether the dead-letter queue gets it; otherwise it is dropped, and counted.
    """

    reason: str
    error: str = ""
    traceback: str = ""
    is_kept: bool = True


class TakenMessage(NamedTuple):
    """One message a take moved in flight.

    Attributes:
        list_key: the list it came from.
        seq: its number among all takes.
        crashes: how often it has crashed a process before.
        raw: its bytes.
        version: of a mailbox: the mark of the version of its agent's state, which nobody else changes meanwhile.
    """

    list_key: str
    seq: int
    crashes: int
    raw: bytes
    version: str = ""


class Taken(NamedTuple):
    """What a take brought.

    Attributes:
        now_ms: the time at Redis.
        next_due_ms: when there is something to look for again, such as a scheduled message; 0: nothing is known.
        messages: oldest first.
        reaped: the consumer has no lease: it took nothing and must take a new identity.
        others: the queues that are mailboxes and another consumer's to take from.
    """

    now_ms: int
    next_due_ms: int
    messages: list[TakenMessage]
    reaped: bool = False
    others: frozenset[str] = frozenset()

    @staticmethod
    def parse(reply: list[Any], lists: Sequence[str]) -> Taken:
        """Reads the reply of a take over ``lists``."""
        if reply[0] == -1:
            return Taken(0, 0, [], reaped=True)
        items = iter(reply[2:])
        parts = list(zip(items, items, items, items, strict=True))
        if not parts or parts[-1][1]:
            return Taken(reply[0], reply[1], [TakenMessage(lists[at - 1], *rest) for at, *rest in parts])
        others = frozenset(queue_of(lists[at - 1]) for at, seq, _, mark in parts if not (seq or mark))
        versions = {taken: mark.decode() for _, seq, taken, mark in parts if mark and not seq}
        messages = [
            TakenMessage(lists[at - 1], seq, crashes, raw, versions.get(seq, ""))
            for at, seq, crashes, raw in parts
            if seq
        ]
        return Taken(reply[0], reply[1], messages, others=others)


class Buried(NamedTuple):
    """A message that a sweep moved to the dead-letter queue.

    Attributes:
        entry: id of its dead letter.
        list_key: where it came from.
        raw: its bytes.
    """

    entry: str
    list_key: str
    raw: bytes


class Recovery(NamedTuple):
    """What one sweep did.

    Attributes:
        consumer: whose messages they were; empty: nobody is dead.
        restored: messages given back to their queues.
        charged: those of them, or of the buried, that had been begun.
        buried: what was moved to the dead-letter queue.
        more: whether to call again at once.
    """

    consumer: str
    restored: int
    charged: int
    buried: list[Buried]
    more: bool

    @staticmethod
    def parse(reply: list[Any]) -> Recovery:
        """Reads the reply of a recover."""
        consumer, restored, charged, _, more, *buried = reply
        dead = [Buried(entry.decode(), list_key.decode("utf-8", "replace"), raw) for entry, list_key, raw in buried]
        return Recovery(consumer.decode(), restored, charged, dead, bool(more))


_PUBLISH = Script.load("publish")
_PUBLISH_MANY = Script.load("publish_many")
_FLUSH = Script.load("flush")
_TAKE = Script.load("take")
_ACK = Script.load("ack")
_ACK_LATE = Script.load("ack_late")
_RELEASE = Script.load("release")
_CRASH = Script.load("crash")
_RECOVER = Script.load("recover")
_BURY = Script.load("bury")
_REPLAY = Script.load("replay")
_PURGE = Script.load("purge")
_DETACH = Script.load("detach")
_RENEW = Script.load("renew")
_LEAVE = Script.load("leave")
_WATCH = Script.load("watch")
_DISCARD = Script.load("discard")
_COUNT_REPEAT = Script.load("count_repeat")
_GROUPS = Script.load("groups")
_RESTORE_STOCK = Script.load("restore_stock")
_VERIFY = Script.load("verify")
