"""What happens to dead letters, as typed events; see :mod:`hardening.core.telemetry`."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.telemetry import Event

__all__ = [
    "ArchiveFailed",
    "DeadLettersParked",
    "DeadLettersRetried",
    "DeadLettersTrimmed",
    "MessageDropped",
    "RetentionUnmatched",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDropped(Event):
    """A message died whose task wants no dead letters; it is counted and gone."""

    name = "hardening.message.dropped"
    is_alarming = True
    message: str  #: its id
    task: str  #: its task's name
    queue: str  #: where it came from
    reason: str  #: why, as for a message that is buried
    error: str = ""  #: the last error as text; empty if there was none


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettersRetried(Event):
    """Dead letters went back to their queues by themselves."""

    name = "hardening.dead_letters.retried"
    retried: int  #: how many


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettersParked(Event):
    """Dead letters will not be retried by themselves: they cannot heal, or have had all their attempts."""

    name = "hardening.dead_letters.parked"
    parked: int  #: how many


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettersTrimmed(Event):
    """Dead letters were deleted, because they were too old or too many."""

    name = "hardening.dead_letters.trimmed"
    is_alarming = True
    trimmed: int  #: how many
    archived: int  #: how many were written to the archive before


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFailed(Event):
    """The archive could not be written, so nothing was trimmed."""

    name = "hardening.archive.failed"
    is_alarming = True
    path: str  #: of the archive
    error: str  #: what the system said


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionUnmatched(Event):
    """A rule of ``dlq_retention`` is for a name that no task of this worker has; the rule does nothing here."""

    name = "hardening.retention.unmatched"
    is_alarming = True
    dlq: str  #: the name
    error: str  #: which names there are
