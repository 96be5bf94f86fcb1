"""What beats and those who change schedules ask of Redis, one typed function for each script. Times are in ms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hardening.core.fingerprint import fingerprint_of
from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hardening.core.keys import Keys
    from hardening.core.scripts.calls import Scope

__all__ = [
    "Changed", "Due", "Lead", "Letter", "Sent", "Slot", "bury_slot", "declare", "hold", "lead", "pass_slots",
    "postpone_slot", "resign", "run_now", "send_slot", "undeclare",
]  # fmt: skip

Overlap = Literal["allow", "skip", "queue_one"]
Verb = Literal["declare", "add", "update", "put"]


class Sent(IntEnum):
    """What became of a slot."""

    NOT_LEADING = -1
    CHANGED = 0
    SENT = 1
    OVERLAPPED = 2
    WAITS = 3
    OWNER_ENDED = 4
    NO_ROOM = 5


class Changed(IntEnum):
    """What became of a change to an entry."""

    MISSING = -3
    TAKEN = -2
    NOT_LEADING = -1
    SAME = 0
    DONE = 1


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot, as the leader means to settle it.

    Attributes:
        token: who leads, with its fence number.
        name: of the entry.
        revision: of the entry, as it was read.
        owed: the slot the entry owed when it was read, as Redis has it.
        slot_ms: the slot to settle; later than what is owed where others were missed.
        next_ms: the slot after it; 0: none.
    """

    token: str
    name: str
    revision: str
    owed: str
    slot_ms: int
    next_ms: int

    def at(self, slot_ms: int, next_ms: int) -> Slot:
        """Another slot of the same entry."""
        return replace(self, slot_ms=slot_ms, next_ms=next_ms)

    def owing(self, owed_ms: int) -> Slot:
        """The same entry, when what it owed has been settled."""
        return replace(self, owed=str(owed_ms))

    @property
    def _read(self) -> tuple[str, str, str, str]:
        return (self.token, self.name, self.revision, self.owed)

    @property
    def _whole(self) -> tuple[str | int, ...]:
        return (*self._read, self.slot_ms, self.next_ms)

    def _keys(self, keys: Keys) -> tuple[str, ...]:
        name = self.name
        return (keys.beat_leader, keys.beat_names, keys.beat_due, keys.beat_entry(name), keys.beat_history(name))


class Letter(NamedTuple):
    """Why a slot is buried.

    Attributes:
        list_key: where it was to go.
        raw: its message.
        error: one line.
        traceback: where it was raised, if known.
    """

    list_key: str
    raw: bytes
    error: str
    traceback: str


class Due(NamedTuple):
    """An entry that a beat must look at.

    Attributes:
        name: of the entry.
        owed: the first slot it owes, in ms, as Redis has it: not trusted to be a number.
        revision: changes with the entry.
        attempts: how often that slot could not be sent.
        waits: whether it waits for the last one to end.
    """

    name: str
    owed: str
    revision: str
    attempts: int
    waits: bool


class Lead(NamedTuple):
    """What a beat is told.

    Attributes:
        token: who leads, with its fence number; empty: another beat does.
        now_ms: the time at Redis.
        left_ms: how long the leader's lease lasts, where another leads.
        is_new: whether the lead has just been taken.
        next_ms: when something is due next; 0: nothing is.
        due: what is due now.
    """

    token: str
    now_ms: int
    left_ms: int = 0
    is_new: bool = False
    next_ms: int = 0
    due: tuple[Due, ...] = ()

    @staticmethod
    def parse(reply: list[Any]) -> Lead:
        """Reads the reply of a lead."""
        if not reply[0]:
            return Lead("", reply[1], max(0, reply[2]))
        token, now_ms, is_new, next_ms, *due = reply
        read = tuple(_due(*one) for one in due)
        return Lead(token.decode(), now_ms, is_new=bool(is_new), next_ms=next_ms, due=read)


def _due(name: bytes, slot: bytes, revision: bytes | None, attempts: bytes | None, waits: bytes | None) -> Due:
    return Due(
        name.decode("utf-8", "replace"), slot.decode("utf-8", "replace"), (revision or b"").decode("utf-8", "replace"),
        int(attempts) if attempts and attempts.isdigit() else 0, waits == b"1",
    )  # fmt: skip


def lead(keys: Keys, beat: str, *, lease_ms: int, limit: int) -> Call:
    """Takes or renews the lead. Reply: see :class:`Lead`."""
    fixed = (keys.beat_leader, keys.beat_fence, keys.beat_ticks, keys.beat_due)
    return Call(_LEAD, fixed, (keys.prefix, beat, lease_ms, limit))


def resign(keys: Keys, token: str, beat: str) -> Call:
    """Gives the lead away. Reply: 1, or 0 when it was another's."""
    return Call(_RESIGN, (keys.beat_leader, keys.beat_ticks, keys.beat_vacancy), (token, beat))


def send_slot(
    scope: Scope,
    slot: Slot,
    list_key: str,
    queue: str,
    raw: bytes,
    *,
    due_ms: int,
    history_most: int,
    overlap: Overlap,
    wait_ms: int,
    receipt: Mapping[str, str],
) -> Call:
    """Sends a slot. Reply: see :class:`Sent`."""
    fields = [part for pair in receipt.items() for part in pair]
    keys = (list_key, scope.keys.queues, *slot._keys(scope.keys))  # noqa: SLF001 - of this module
    head = (scope.keys.prefix, scope.receipt_ttl_ms, scope.worker, queue, due_ms, raw)
    return Call(_SEND_SLOT, keys, (*head, *slot._whole, history_most, overlap, wait_ms, *fields))  # noqa: SLF001


def pass_slots(keys: Keys, slot: Slot, *, history_most: int) -> Call:
    """Drops what was missed. Reply: see :class:`Changed`."""
    return Call(_PASS_SLOTS, slot._keys(keys), (*slot._whole, history_most))  # noqa: SLF001 - of this module


def postpone_slot(keys: Keys, slot: Slot, *, delay_ms: int, error: str, fault: str = "") -> Call:
    """Tries a slot later, or not at all. Reply: how often it has failed; 0 or less: it is not ours to say."""
    fixed = (keys.beat_leader, keys.beat_due, keys.beat_entry(slot.name))
    return Call(_POSTPONE_SLOT, fixed, (*slot._read, delay_ms, error, fault))  # noqa: SLF001 - of this module


def bury_slot(scope: Scope, slot: Slot, letter: Letter, *, history_most: int) -> Call:
    """Buries a slot. Reply: id of its dead letter, or empty."""
    leader, *rest = slot._keys(scope.keys)  # noqa: SLF001 - of this module
    head = (scope.keys.prefix, scope.receipt_ttl_ms, scope.worker, letter.raw)
    about = (letter.error, letter.traceback, fingerprint_of(letter.error, letter.traceback))
    args = (*head, *slot._whole, history_most, *about)  # noqa: SLF001
    return Call(_BURY_SLOT, (letter.list_key, leader, *rest), args)


def run_now(
    scope: Scope,
    name: str,
    list_key: str,
    queue: str,
    raw: bytes,
    *,
    due_ms: int,
    history_most: int,
    receipt: Mapping[str, str],
) -> Call:
    """Sends an entry's message out of turn. Reply: 1, or 0 when there is no such entry."""
    fields = [part for pair in receipt.items() for part in pair]
    keys = (list_key, scope.keys.queues, scope.keys.beat_entry(name), scope.keys.beat_history(name))
    head = (scope.keys.prefix, scope.receipt_ttl_ms, scope.worker, queue, due_ms, raw)
    return Call(_RUN_NOW, keys, (*head, history_most, *fields))


def declare(
    keys: Keys,
    verb: Verb,
    name: str,
    *,
    token: str = "",
    origin: str,
    owner: str = "",
    definition: str,
    times: str,
    fault: str = "",
    slot_ms: int,
) -> Call:
    """Puts an entry. Reply: see :class:`Changed`."""
    fixed = (keys.beat_leader, keys.beat_names, keys.beat_due, keys.beat_bell, keys.beat_entry(name))
    return Call(_DECLARE, fixed, (verb, token, name, origin, owner, definition, times, fault, slot_ms))


def undeclare(keys: Keys, name: str, *, token: str = "") -> Call:
    """Removes an entry. Reply: see :class:`Changed`; 0: there is none."""
    fixed = (keys.beat_leader, keys.beat_names, keys.beat_due, keys.beat_entry(name), keys.beat_history(name))
    return Call(_UNDECLARE, fixed, (token, name))


def hold(keys: Keys, name: str, *, paused: bool, slot_ms: int = 0) -> Call:
    """Pauses an entry, or lets it go on. Reply: see :class:`Changed`."""
    fixed = (keys.beat_names, keys.beat_due, keys.beat_bell, keys.beat_entry(name))
    return Call(_HOLD, fixed, (name, int(paused), slot_ms))


_LEAD = Script.load("lead")
_RESIGN = Script.load("resign")
_SEND_SLOT = Script.load("send_slot")
_PASS_SLOTS = Script.load("pass_slots")
_POSTPONE_SLOT = Script.load("postpone_slot")
_BURY_SLOT = Script.load("bury_slot")
_RUN_NOW = Script.load("run_now")
_DECLARE = Script.load("declare")
_UNDECLARE = Script.load("undeclare")
_HOLD = Script.load("hold")
