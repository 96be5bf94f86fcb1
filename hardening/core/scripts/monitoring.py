"""What monitors ask of Redis, one typed function for each script. Times are in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hardening.core.keys import Keys

__all__ = [
    "Errand", "Found", "Told", "Turn", "demonitor", "down", "find", "leaks", "monitor", "owed", "reap", "renew",
    "turn",
]  # fmt: skip


class Told(NamedTuple):
    """A down, as the scripts tell it.

    Attributes:
        id: of the monitor.
        reason: ``exited``, ``crashed``, ``lease_lost`` or ``unknown``.
        at_ms: when it was noticed.
        target: what was monitored.
        how: in one word or two.
        about: what is said of the monitor; empty in what its owner is told.
    """

    id: str
    reason: str
    at_ms: int
    target: str
    how: str
    about: str = ""

    @staticmethod
    def parse(text: bytes) -> Told:
        """Reads one."""
        monitor_id, reason, at_ms, target, *rest = text.decode("utf-8", "replace").split("\x1f", 5)
        return Told(monitor_id, reason, int(at_ms), target, *rest)


class Found(NamedTuple):
    """A monitor, as it is kept.

    Attributes:
        id: of the monitor.
        has_task: whether a down is told by a task as well.
        since_ms: when it was set.
        due_ms: when it is a leak.
        target: what is monitored.
        about: what is said of it, JSON.
        is_leaked: whether it was reported as a leak.
    """

    id: str
    has_task: bool
    since_ms: int
    due_ms: int
    target: str
    about: str
    is_leaked: bool = False

    @staticmethod
    def parse(monitor_id: bytes, record: bytes, *, is_leaked: bool = False) -> Found:
        """Reads one."""
        told, since_ms, due_ms, target, about = record.decode("utf-8", "replace").split("\x1f", 4)
        name = monitor_id.decode("utf-8", "replace")
        return Found(name, told == "s", int(since_ms), int(due_ms), target, about, is_leaked)


class Errand(NamedTuple):
    """One monitor to be kept.

    Attributes:
        id: of the monitor: ``<owner>#<number>``.
        target: what is monitored.
        has_task: whether a down is told by a task as well.
        leak_after_ms: after how long it is a leak.
        about: what is said of it, JSON.
        since_ms: when it was set; 0: now.
    """

    id: str
    target: str
    has_task: bool
    leak_after_ms: int
    about: str
    since_ms: int = 0


class Turn(NamedTuple):
    """What there is to do for those who look after monitors.

    Attributes:
        is_mine: whether it is the asker's turn; otherwise nothing else is told.
        due: how many monitors are due as leaks.
        owed: how many notices are to be sent.
        owners: how many processes have monitors.
        gone: targets that are down, and how.
        dead: owners whose lease ran out.
    """

    is_mine: bool
    due: int = 0
    owed: int = 0
    owners: int = 0
    gone: tuple[tuple[str, str], ...] = ()
    dead: tuple[str, ...] = ()

    @staticmethod
    def parse(reply: list[Any]) -> Turn:
        """Reads the reply of :func:`turn`."""
        if not reply[0]:
            return Turn(is_mine=False)
        names = [part.decode("utf-8", "replace") for part in reply[4:]]
        gone: list[tuple[str, str]] = []
        while names[0]:
            gone.append((names.pop(0), names.pop(0)))
        due, owed_, owners = reply[1:4]
        return Turn(is_mine=True, due=due, owed=owed_, owners=owners, gone=tuple(gone), dead=tuple(names[1:]))


def monitor(keys: Keys, owner: str, ttl_ms: int, errands: Iterable[Errand]) -> Call:
    """Keeps monitors. Reply: for each the target as it is known, and since when in ms, 0 when it is not there."""
    parts = [
        part
        for one in errands
        for part in (one.id, one.target, "s" if one.has_task else "-", one.leak_after_ms, one.since_ms, one.about)
    ]
    fixed = (keys.owners, keys.monitors(owner), keys.counters, keys.nodes)
    return Call(_MONITOR, fixed, (keys.prefix, owner, ttl_ms, *parts))


def demonitor(keys: Keys, refs: Iterable[tuple[str, str]]) -> Call:
    """Ends monitors, given as (id, target). Reply: how many there were."""
    parts = [part for ref in refs for part in ref]
    return Call(_DEMONITOR, (keys.counters,), (keys.prefix, *parts))


def renew(keys: Keys, owner: str, ttl_ms: int, heard: int) -> Call:
    """Renews an owner's lease, unless ``ttl_ms`` is 0. Reply: how many monitors it has, then what it has not heard."""
    fixed = (keys.owners, keys.monitors(owner), keys.monitor_downs(owner))
    return Call(_RENEW, fixed, (owner, ttl_ms, heard))


def turn(keys: Keys, who: str, turn_ms: int, *, may_judge: bool, at_once: bool) -> Call:
    """Takes the turn to look after monitors. Reply: see :class:`Turn`."""
    fixed = (
        keys.monitor_turn, keys.leases, keys.owners, keys.monitor_gone, keys.monitor_due, keys.monitor_owed,
        keys.monitor_queues,
    )  # fmt: skip
    return Call(_TURN, fixed, (keys.prefix, who, turn_ms, int(may_judge), int(at_once)))


def down(keys: Keys, target: str, reason: str, how: str, limit: int) -> Call:
    """Tells of a target's end; an empty reason follows from how. Reply: how many were told of, and are left."""
    return Call(_DOWN, (keys.monitored(target), keys.monitor_gone), (keys.prefix, target, reason, how, limit))


def reap(keys: Keys, owner: str, limit: int, *, is_own: bool = False, given: Iterable[tuple[str, str]] = ()) -> Call:
    """Removes monitors of an owner, also those given as (id, target). Reply: how many, and how many are left."""
    parts = [part for ref in given for part in ref]
    fixed = (keys.owners, keys.monitors(owner), keys.monitor_downs(owner), keys.counters)
    return Call(_REAP, fixed, (keys.prefix, owner, int(is_own), limit, *parts))


def leaks(keys: Keys, limit: int) -> Call:
    """Reports leaks. Reply: the time, how many were looked at, then id and record of each."""
    fixed = (keys.monitor_due, keys.monitor_leaked, keys.owners, keys.counters)
    return Call(_LEAKS, fixed, (keys.prefix, limit))


def find(
    keys: Keys, *, age_ms: int = 0, offset: int = 0, limit: int, leaked: bool = False, is_there: bool = False
) -> Call:
    """Reads a page of monitors. Reply: the time, how many were looked at, then id, record and whether it is a leak."""
    order = keys.monitor_leaked if leaked else keys.monitor_since
    fixed = (order, keys.owners, keys.monitor_leaked)
    return Call(_FIND, fixed, (keys.prefix, age_ms, offset, limit, int(is_there)))


def owed(keys: Keys, limit: int, claim_ms: int, settled: Iterable[str]) -> Call:
    """Settles notices, given by name, and hands out further ones. Reply: name and notice of each."""
    return Call(_OWED, (keys.monitor_owed, keys.monitor_notices), (limit, claim_ms, *settled))


_MONITOR = Script.load("monitor")
_DEMONITOR = Script.load("demonitor")
_RENEW = Script.load("monitor_renew")
_TURN = Script.load("monitor_turn")
_DOWN = Script.load("monitor_down")
_REAP = Script.load("monitor_reap")
_LEAKS = Script.load("monitor_leaks")
_FIND = Script.load("monitor_find")
_OWED = Script.load("monitor_owed")
