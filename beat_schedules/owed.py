"""Which slots are sent when a beat gets to an entry late: pure arithmetic, so that it can be tried for any history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beat_schedules.definition import CatchUp

__all__ = ["Plan", "plan"]

#: Slots of one entry that are settled in one tick; the others are in the next.
_MOST = 50
#: The first step back when looking for the last slots before a time, in ms.
_STEP_MS = 60_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is owed now.

    Attributes:
        send: slots to be sent, oldest first, in ms.
        missed_ms: the last slot that is passed over although it was owed; 0: none is.
        next_ms: the first slot after those; 0: there is none.
    """

    send: tuple[int, ...]
    missed_ms: int
    next_ms: int

    @property
    def steps(self) -> list[tuple[int, int]]:
        """Each slot to be sent with the one after it."""
        return list(zip(self.send, (*self.send, self.next_ms)[1:], strict=bool(self.send)))


def plan(
    times: Any, *, owed_ms: int, now_ms: int, grace_ms: int, catch_up: CatchUp, most: int, waits: bool = False
) -> Plan:
    """What is owed at a time.

    A slot is missed when it is more than the grace late. What was missed is caught up as the entry says: ``skip``
    none of it, ``one`` the latest, if no later slot is to be sent anyway, ``all`` the latest ``most``. What is not
    missed is sent, slot by slot.

    Args:
        times: when the entry is due, see :mod:`beat_schedules.times`.
        owed_ms: the first slot that is owed.
        now_ms: the time.
        grace_ms: how late a slot is missed.
        catch_up: what becomes of what was missed.
        most: how much ``all`` is at most.
        waits: the entry has waited for its last message to end: the latest slot stands for all.
    """
    limit_ms = now_ms - grace_ms
    if waits:
        send = _last(times, owed_ms, now_ms + 1, 1)
    else:
        late = owed_ms < limit_ms
        send = _from(times, owed_ms, limit_ms - 1 if late else owed_ms - 1, now_ms)
        keep = {"skip": 0, "one": 0 if send else 1, "all": most}[catch_up] if late else 0
        send = _last(times, owed_ms, limit_ms, keep) + send
    more = send[_MOST:]
    send = send[:_MOST]
    following = more[0] if more else times.next_after(now_ms, owed_ms) or 0
    missed_ms = 0
    if not send or send[0] != owed_ms:
        missed_ms = (_last(times, owed_ms, send[0] if send else now_ms + 1, 1) or [owed_ms])[-1]
    return Plan(tuple(send), missed_ms, following)


def _from(times: Any, owed_ms: int, after_ms: int, until_ms: int) -> list[int]:
    """Slots after a time, up to another, a few more than can be settled at once."""
    found: list[int] = []
    at = owed_ms if after_ms < owed_ms else times.next_after(after_ms, owed_ms)
    while at is not None and at <= until_ms and len(found) <= _MOST:
        found.append(at)
        at = times.next_after(at, owed_ms)
    return found


def _last(times: Any, owed_ms: int, before_ms: int, most: int) -> list[int]:
    """The last slots before a time, none before the one that is owed. Looks back in growing steps."""
    if not most or owed_ms >= before_ms:
        return []
    step, found = _STEP_MS, [owed_ms]
    while True:
        begin = before_ms - step
        found = [owed_ms] if begin <= owed_ms else []
        at = times.next_after(max(begin, owed_ms), owed_ms)
        while at is not None and at < before_ms:
            found.append(at)
            at = times.next_after(at, owed_ms)
        if begin <= owed_ms or len(found) >= most:
            return found[-most:]
        step *= 2 if found else 8
