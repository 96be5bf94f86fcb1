"""What beats do, as events; see :mod:`hardening.core.telemetry`."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = [
    "BeatFailed", "BeatResigned", "BeatStoodBy", "BeatTookLead", "EntryEnded", "EntryQuarantined", "FileRefused",
    "SchedulesDeclared", "SlotBuried", "SlotDropped", "SlotFailed", "SlotSent",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatTookLead(Event):
    """A beat of this process leads from now on."""

    name = "hardening.beat.took_lead"
    beat: str  #: its name
    fence: int  #: its fence number: greater than that of any leader before it


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatStoodBy(Event):
    """A beat of this process led and does so no more, or cannot know: it stands by."""

    name = "hardening.beat.stood_by"
    is_alarming = True
    beat: str  #: its name
    why: str  #: what happened


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatResigned(Event):
    """A beat of this process gave the lead away, for it ends."""

    name = "hardening.beat.resigned"
    beat: str  #: its name


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatFailed(Event):
    """A tick failed, and not for want of Redis; the next is tried."""

    name = "hardening.beat.failed"
    is_alarming = True
    beat: str  #: its name
    error: str  #: what was raised


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulesDeclared(Event):
    """What code and files declare was put into Redis by a new leader."""

    name = "hardening.schedules.declared"
    put: int  #: entries that are new or have changed
    removed: int  #: entries that are declared no more
    quarantined: int  #: entries that cannot be schedules


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryQuarantined(Event):
    """An entry cannot be a schedule: it is set aside by its name, and the others go on."""

    name = "hardening.entry.quarantined"
    is_alarming = True
    entry: str  #: its name
    why: str  #: what is wrong with it


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryEnded(Event):
    """The owner of an entry has ended, and so has the entry."""

    name = "hardening.entry.ended"
    entry: str  #: its name


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRefused(Event):
    """A file that declares schedules cannot be read: what it declared before stays."""

    name = "hardening.schedule_file.refused"
    is_alarming = True
    path: str  #: which
    error: str  #: why


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSent(Event):
    """A slot was sent."""

    name = "hardening.slot.sent"
    entry: str  #: whose
    slot_ms: int  #: when it was due
    late_ms: int  #: how late it was sent


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotDropped(Event):
    """Slots were not sent, as their entry says; or one was, to a mailbox that has no room for it."""

    name = "hardening.slot.dropped"
    entry: str  #: whose
    slot_ms: int  #: the last of them
    why: str  #: ``missed``, ``overlapped`` or ``mailbox_full``


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFailed(Event):
    """A slot could not be sent; it is tried again."""

    name = "hardening.slot.failed"
    is_alarming = True
    entry: str  #: whose
    slot_ms: int  #: when it was due
    attempt: int  #: how often it has failed so far
    error: str  #: what was raised


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotBuried(Event):
    """A slot that could not be sent went to the dead-letter queue."""

    name = "hardening.slot.buried"
    is_alarming = True
    entry: str  #: whose
    slot_ms: int  #: when it was due
    letter: str  #: id of its dead letter
    error: str  #: what was raised
