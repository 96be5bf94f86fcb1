"""The states of a supervised message, and how a receipt keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RANK", "DeliveryStatus", "Transition", "about_of", "history_of", "status_of"]

#: What a receipt keeps for itself.
_BOOKKEEPING = ("changes", "watched", "kept_until_ms", "cancelled", "monitored")


class DeliveryStatus(StrEnum):
    """Where a message is."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    CLAIMED = "claimed"
    STARTED = "started"
    ACKED = "acked"
    DEAD = "dead"
    SPOOLED = "spooled"
    UNKNOWN = "unknown"


_STATES = {status.value: status for status in DeliveryStatus}
#: How far along a message is; what is not here is on no way to anywhere.
RANK = {
    DeliveryStatus.SCHEDULED: 0,
    DeliveryStatus.QUEUED: 1,
    DeliveryStatus.CLAIMED: 2,
    DeliveryStatus.STARTED: 3,
    DeliveryStatus.ACKED: 4,
}


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state.

    Attributes:
        state: which it became.
        at: when, by the clock of Redis.
        worker: who did it; empty: the sender.
    """

    state: DeliveryStatus
    at: datetime
    worker: str


def status_of(fields: Mapping[str, str]) -> DeliveryStatus:
    """The state that a receipt tells of; ``unknown`` where it tells of none."""
    return _STATES.get(fields.get("state", ""), DeliveryStatus.UNKNOWN)


def about_of(fields: Mapping[str, str]) -> dict[str, str]:
    """What a receipt tells besides its history and what it keeps for itself."""
    return {name: value for name, value in fields.items() if not _is_change(name) and name not in _BOOKKEEPING}


def history_of(fields: Mapping[str, str]) -> list[Transition]:
    """The states that a receipt tells of, oldest first."""
    numbers = sorted(int(name[1:]) for name in fields if _is_change(name))
    return [_transition(fields[f"#{number}"]) for number in numbers]


def _is_change(name: str) -> bool:
    return name.startswith("#") and name[1:].isdigit()


def _transition(change: str) -> Transition:
    ms, state, worker = change.split(" ", 2)
    return Transition(status_of({"state": state}), datetime.fromtimestamp(int(ms) / 1000, UTC), worker)
