"""What a monitor tells when its target is down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardening.core.scripts.monitoring import Told

__all__ = ["Down", "DownReason"]


class DownReason(StrEnum):
    """Why a target is down."""

    #: It ended as it should: a worker left, a task was done, the last consumer of a queue left or was told to.
    EXITED = "exited"
    #: It ended as it should not: a task died, or a worker's process is gone that had not said goodbye.
    CRASHED = "crashed"
    #: A worker was silent for a whole lease: killed with its machine, frozen, or cut off. Nobody can tell which.
    LEASE_LOST = "lease_lost"
    #: It was not there: it never was, it had ended before it was monitored, or all trace of it is gone.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Down:
    """One target is down, as one monitor is told.

    Attributes:
        monitor: the id of the monitor.
        target: what was monitored, as ``kind:name``.
        tag: as the owner gave it.
        reason: why.
        how: of a task how it ended: ``acked``, or ``dead`` and why; else as Redis has it.
        at: when it was noticed, by the clock of Redis.
    """

    monitor: str
    target: str
    tag: str
    reason: DownReason
    how: str
    at: datetime

    @classmethod
    def of(cls, told: Told, tag: str) -> Down:
        """What the scripts told."""
        reason = DownReason(told.reason) if told.reason in list(DownReason) else DownReason.UNKNOWN
        at = datetime.fromtimestamp(told.at_ms / 1000, UTC)
        return cls(told.id, told.target, tag, reason, told.how.strip(), at)

    def to_json(self) -> dict[str, Any]:
        """As a task is told: all of it as text."""
        return {
            "monitor": self.monitor, "target": self.target, "tag": self.tag, "reason": self.reason.value,
            "how": self.how, "at": self.at.isoformat(),
        }  # fmt: skip
