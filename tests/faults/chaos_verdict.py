"""What a round came to: what was lost, and whether each duplicate has a fault to answer for it. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults.chaos_bound import silence_bound
from tests.faults.chaos_plan import Kind
from tests.faults.rig import PREFETCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Dead", "Duplicates", "Fault", "Run", "Sent", "judge", "ran_early", "read_runs", "tell_duplicates"]

#: How long before a fault a run may have ended and still be unacknowledged, on a machine that is very busy; and
#: how long after it one may still have begun.
_SLACK_S = 2.0
#: By how much two ways of telling the time may differ.
_CLOCK_S = 0.01
#: How often poison runs by rights.
_MAX_CRASHES = 3
#: How long Celery may take to connect again once it can, in seconds.
_RECONNECT_S = 5.0
#: Faults from which a worker comes back.
_WAKING = frozenset({Kind.FREEZE, Kind.SWALLOW, Kind.LAPSE})
#: Faults that part a worker from Redis.
_OUTAGES = frozenset({Kind.REDIS, Kind.CUT, Kind.SWALLOW})
#: Faults after which what ran may run again.
_REPEATING = frozenset(
    {Kind.KILL, Kind.KILL_CHILD, Kind.FREEZE, Kind.COLD, Kind.SWALLOW, Kind.POISON, Kind.LAPSE, Kind.CRASH}
)


@dataclass(slots=True)
class Fault:
    """One fault that happened.

    Attributes:
        kind: what was done.
        at_s: when, by the clock that all processes of a machine share.
        until_s: when it was over.
        victim: who was hit, for people; empty: Redis, and so all.
        worker: the pid of the worker.
        concurrency: how many tasks it may have been running.
        inflight: how many messages it held.
        begun: how many of those it had begun.
        recovery_s: how long after a death the last of them was back in its queue; None: nobody died, or it
            held nothing, or it never came back.
        disturbed: whether something that holds recovery up happened in between.
        duplicates: how many runs it answers for.
        note: anything else.
    """

    kind: Kind
    at_s: float
    until_s: float = 0.0
    victim: str = ""
    worker: int = 0
    concurrency: int = 0
    inflight: int = 0
    begun: int = 0
    recovery_s: float | None = None
    disturbed: bool = False
    duplicates: int = 0
    note: str = ""

    @property
    def bound(self) -> int:
        """How many tasks may run twice because of it.

        A cut or a restart of Redis: none, for the worker comes back before its lease is over and repeats what it
        is not sure of; if it does not, that is a lapse. A worker that is cut off and does not notice at once goes
        on for a moment, see :func:`silence_bound`; the load's shortest tasks take no time, so what it may hold
        counts. Everybody else: what was running, for every begin carries the acks before it, and who wakes
        begins nothing that it has lost.
        """
        if self.kind not in _REPEATING:
            return 0
        if self.kind is Kind.SWALLOW:
            return silence_bound(self.concurrency, prefetch=PREFETCH)
        return 1 if self.kind is Kind.KILL_CHILD else self.concurrency

    def explains(self, run: Run, settled_s: float) -> bool:
        """Whether it may have kept a run, which would else have been settled by some time, from being so."""
        over_s = max(self.at_s, self.until_s)
        return run.worker == self.worker and run.began_s <= over_s + _SLACK_S and settled_s >= self.at_s - _SLACK_S

    def delays(self, run: Run) -> bool:
        """Whether a run ended while its worker could not reach Redis, and had to wait with its acknowledgement."""
        is_its = self.kind is Kind.REDIS or (self.kind in _OUTAGES and self.worker == run.worker)
        ended_s = -1.0 if run.ended_s is None else run.ended_s
        return is_its and self.at_s - _SLACK_S <= ended_s <= self.until_s + _RECONNECT_S


@dataclass(slots=True)
class Run:
    """One run of a task, as the task itself recorded it."""

    key: str
    worker: int
    began_s: float
    ended_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that was sent.

    Attributes:
        key: of the task; also its id.
        task: its name.
        at_s: when.
        done_s: when the send had returned.
        due_s: when it may run at the earliest.
        supervised: whether it has a receipt.
        accepted: whether the send succeeded.
    """

    key: str
    task: str
    at_s: float
    done_s: float
    due_s: float
    supervised: bool
    accepted: bool

    @property
    def is_poison(self) -> bool:
        """Whether it kills what runs it."""
        return self.task.startswith("kill_")


@dataclass(frozen=True, slots=True)
class Dead:
    """One dead letter."""

    key: str
    reason: str
    crashes: int


def read_runs(records: Iterable[bytes]) -> list[Run]:
    """The runs in the record that tasks wrote, in the order in which they began."""
    runs: dict[str, Run] = {}
    for record in records:
        run, what, key, worker, at_s = json.loads(record)
        if what == "began":
            runs[run] = Run(key, worker, at_s)
        else:
            runs[run].ended_s = at_s
    return sorted(runs.values(), key=lambda run: run.began_s)


def judge(sent: Sequence[Sent], runs: Sequence[Run], dead: Sequence[Dead]) -> dict[str, str]:
    """What is wrong with each message that did not come to its proper end; by its key.

    A message must be done or dead; a task that always fails, and poison, must be dead, and for that reason.
    """
    ended = {run.key for run in runs if run.ended_s is not None}
    begun = {run.key for run in runs}
    letters = {letter.key: letter for letter in dead}
    wrong = {}
    for message in sent:
        letter = letters.get(message.key)
        if letter is not None and (unfair := _unfair(message, letter)):
            wrong[message.key] = unfair
        elif letter is None and message.accepted and (message.task != "run" or message.key not in ended):
            how_far = "ended" if message.key in ended else "begun" if message.key in begun else "never begun"
            wrong[message.key] = f"{message.task} lost: {how_far}"
    return wrong


def ran_early(sent: Sequence[Sent], runs: Sequence[Run]) -> list[str]:
    """Keys of messages that ran before they were due."""
    due = {message.key: message.due_s for message in sent}
    return sorted({run.key for run in runs if run.began_s < due[run.key] - _CLOCK_S})


def _unfair(message: Sent, letter: Dead) -> str:
    if letter.reason == "crashed":
        return "" if letter.crashes == _MAX_CRASHES else f"buried after {letter.crashes} crashes"
    return "" if message.task == "fail" and letter.reason == "failed" else f"{message.task} buried: {letter.reason}"


@dataclass(slots=True)
class Duplicates:
    """Runs beyond the first of each message.

    Attributes:
        total: all of them, without those of poison that it is allowed.
        resent: those of messages that were sent while Redis was away, and may have been published twice.
        unexplained: for each that no fault answers for: what is known of it.
        on_waking: those that were begun by a worker which had just come back, after they had run elsewhere. A
            fault answers for them, too, but a worker that comes back should begin nothing it has lost.
    """

    total: int = 0
    resent: int = 0
    unexplained: list[str] = field(default_factory=list)
    on_waking: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Repeat:
    """One run beyond the first, with those before it."""

    message: Sent
    before: list[Run]
    run: Run
    candidates: list[Fault] = field(default_factory=list)


def tell_duplicates(sent: Sequence[Sent], runs: Sequence[Run], faults: Sequence[Fault]) -> Duplicates:
    """Finds a fault for each duplicate, none for more than it may cause, and counts them there."""
    repeats = _repeats({message.key: message for message in sent}, runs)
    for repeat in repeats:
        repeat.candidates = [fault for fault in faults if fault.bound and _may_cause(fault, repeat, faults)]
    charged = _match(repeats)
    told = Duplicates(len(repeats))
    resent: set[str] = set()
    for repeat in repeats:
        fault, key = charged.get(repeat), repeat.message.key
        if fault is not None:
            fault.duplicates += 1
            if not _is_before(fault, repeat, faults):
                told.on_waking.append(_story(repeat, faults))
        elif key not in resent and _may_be_resent(repeat.message, faults):
            resent.add(key)
            told.resent += 1
        else:
            told.unexplained.append(_story(repeat, faults))
    return told


def _repeats(messages: dict[str, Sent], runs: Sequence[Run]) -> list[_Repeat]:
    by_key: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_key[run.key].append(run)
    return [
        _Repeat(messages[key], its[:number], its[number])
        for key, its in by_key.items()
        for number in range(_MAX_CRASHES if messages[key].is_poison else 1, len(its))
    ]


def _may_cause(fault: Fault, repeat: _Repeat, faults: Sequence[Fault]) -> bool:
    run = repeat.run
    is_waking = fault.kind in _WAKING and run.worker == fault.worker
    return _is_before(fault, repeat, faults) or (is_waking and fault.at_s <= run.began_s <= fault.until_s + _SLACK_S)


def _is_before(fault: Fault, repeat: _Repeat, faults: Sequence[Fault]) -> bool:
    return any(fault.explains(run, _settled_s(run, faults)) for run in repeat.before)


def _match(repeats: Sequence[_Repeat]) -> dict[_Repeat, Fault]:
    """As many repeats as possible, each with a fault, and no fault with more than its bound (Kuhn's algorithm)."""
    charged: dict[_Repeat, Fault] = {}

    def place(repeat: _Repeat, tried: set[int]) -> bool:
        for fault in sorted(repeat.candidates, key=lambda one: abs(one.at_s - repeat.before[-1].began_s)):
            if id(fault) in tried:
                continue
            tried.add(id(fault))
            its = [other for other, charge in charged.items() if charge is fault]
            if len(its) < fault.bound or any(place(other, tried) for other in its):
                charged[repeat] = fault
                return True
        return False

    for repeat in sorted(repeats, key=_is_doubtful):  # who has been placed stays so, if elsewhere
        place(repeat, set())
    return charged


def _is_doubtful(repeat: _Repeat) -> bool:
    """Whether no fault that may have caused it came while a run before it went on."""
    return not any(
        fault.worker == run.worker and run.began_s <= fault.at_s and (run.ended_s is None or fault.at_s <= run.ended_s)
        for fault in repeat.candidates
        for run in repeat.before
    )


def _may_be_resent(message: Sent, faults: Sequence[Fault]) -> bool:
    """Whether Celery may have published it again because it did not hear that it was published."""
    outages = [fault for fault in faults if fault.kind is Kind.REDIS]
    return not message.supervised and any(
        outage.at_s <= message.done_s and message.at_s <= outage.until_s for outage in outages
    )


def _settled_s(run: Run, faults: Sequence[Fault]) -> float:
    """When a run must have been settled if nothing came in between, but for the slack."""
    if run.ended_s is None:
        return float("inf")
    return max([run.ended_s, *(fault.until_s + _RECONNECT_S for fault in faults if fault.delays(run))])


def _story(repeat: _Repeat, faults: Sequence[Fault]) -> str:
    message, first, last = repeat.message, repeat.before[0], repeat.run
    told = [
        f"worker {run.worker} {run.began_s:.3f}-{'?' if run.ended_s is None else format(run.ended_s, '.3f')}"
        for run in (*repeat.before, last)
    ]
    near = [
        f"{fault.kind} of {fault.worker} {fault.at_s:.3f}-{max(fault.at_s, fault.until_s):.3f}"
        for fault in faults
        if fault.worker in (0, first.worker, last.worker)
        and fault.at_s <= last.began_s
        and fault.until_s >= first.began_s - _RECONNECT_S
    ]
    return (
        f"{message.key} ({message.task}, sent {message.at_s:.3f}): {', '.join(told)}; {', '.join(near) or 'no fault'}"
    )
