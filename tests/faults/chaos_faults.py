"""Doing harm: the planned faults of a round, one after the other, while the fleet is tended."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.eventually import eventually
from tests.faults.chaos_plan import Kind
from tests.faults.chaos_verdict import Fault
from tests.faults.rig import LEASE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.core.embedded import EmbeddedRedis
    from tests.faults.chaos_fleet import Fleet, Post
    from tests.faults.chaos_plan import Planned
    from tests.faults.chaos_watch import Watch

__all__ = ["Injector", "mark_disturbed"]

#: How long to wait for somebody who may be hit, in seconds.
_PATIENCE_S = 90.0
#: Faults that may hold up the recovery of somebody else, and for how long after.
_DISTURBING = (Kind.REDIS, Kind.CUT, Kind.SWALLOW, Kind.FREEZE)


class Injector:
    """Applies faults. One worker at least is always well, so that what is measured is the library.

    Args:
        fleet: the workers.
        broker: is killed itself in some rounds.
        watch: takes the time of recoveries.
        faults: what has happened so far; others add to it too.
        on_fault: told of each.
    """

    def __init__(
        self,
        fleet: Fleet,
        broker: EmbeddedRedis,
        watch: Watch,
        faults: list[Fault],
        on_fault: Callable[[Fault], None],
    ) -> None:
        self._fleet = fleet
        self._broker = broker
        self._watch = watch
        self._faults = faults
        self._on_fault = on_fault
        self._due: list[tuple[float, Callable[[], None]]] = []

    def tick(self) -> None:
        """Tends the fleet and ends faults that are over."""
        now_s = time.monotonic()
        over = [action for due_s, action in self._due if due_s <= now_s]
        self._due = [(due_s, action) for due_s, action in self._due if due_s > now_s]
        for action in over:
            action()
        self._fleet.tend()

    def until(self, predicate: Callable[[], object], timeout_s: float = _PATIENCE_S) -> None:
        """Ticks until something is true.

        Raises:
            AssertionError: it did not become true.
        """

        def ticked() -> object:
            self.tick()
            return predicate()

        eventually(ticked, timeout_s)

    def pause(self, seconds: float) -> None:
        """Ticks for so long."""
        end_s = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end_s, seconds + 60)

    def until_all_are_well(self) -> None:
        """Ticks until every fault is over and every worker consumes."""
        self.until(lambda: not self._due and len(self._fleet.well) == len(self._fleet.posts))

    def apply(self, planned: Planned) -> None:
        """Applies one fault as soon as there is somebody whom it may hit."""
        self.pause(planned.gap_s)
        if planned.kind is Kind.REDIS:
            self._restart_redis(planned)
            return
        self.until(lambda: self._candidates(planned.kind))
        candidates = self._candidates(planned.kind)
        post = candidates[int(planned.pick * len(candidates))]
        fault = Fault(
            planned.kind, time.monotonic(), victim=str(post), worker=post.pid, concurrency=post.crew.concurrency
        )
        harm = {
            Kind.KILL: self._kill, Kind.KILL_CHILD: self._kill_child, Kind.FREEZE: self._freeze,
            Kind.WARM: self._stop, Kind.COLD: self._stop, Kind.CUT: self._cut, Kind.SWALLOW: self._swallow,
        }[planned.kind]  # fmt: skip
        self._faults.append(fault)
        harm(post, fault, planned.extent)
        self._on_fault(fault)

    def _candidates(self, kind: Kind) -> list[Post]:
        """Who may be hit: somebody else stays well."""
        well = self._fleet.well
        if len(well) < 2:
            return []
        is_prefork = kind is Kind.KILL_CHILD
        return [post for post in well if not is_prefork or (post.crew.pool == "prefork" and post.worker.children())]

    def _kill(self, post: Post, fault: Fault, _extent: float) -> None:
        post.worker.kill()
        fault.at_s = fault.until_s = time.monotonic()
        self._watch.await_recovery(fault, post.pid)
        self._fleet.replace(post)

    def _kill_child(self, post: Post, fault: Fault, extent: float) -> None:
        self._watch.note_holdings(fault, post.pid)
        children = post.worker.children()
        with suppress(ProcessLookupError):
            os.kill(children[int(extent * len(children))], signal.SIGKILL)
        fault.until_s = time.monotonic()

    def _freeze(self, post: Post, fault: Fault, extent: float) -> None:
        """Longer than its lease; the parent alone, or its pool too."""
        self._watch.note_holdings(fault, post.pid)
        seconds, whole = LEASE_S * (1.3 + extent), extent > 0.5
        fault.note = f"{seconds:.1f} s, {'with its pool' if whole else 'parent only'}"
        fault.until_s = fault.at_s + seconds
        post.trial = fault
        pid = post.pid
        signal_it = os.killpg if whole else os.kill
        signal_it(pid, signal.SIGSTOP)

        def thaw() -> None:
            with suppress(ProcessLookupError):
                signal_it(pid, signal.SIGCONT)
            self._end_trial(post, fault)

        self._due.append((fault.until_s, thaw))

    def _stop(self, post: Post, fault: Fault, _extent: float) -> None:
        self._watch.note_holdings(fault, post.pid)
        post.trial, post.leaving = fault, True
        fault.until_s = fault.at_s + 60  # corrected when it has left
        post.worker.send(signal.SIGTERM if fault.kind is Kind.WARM else signal.SIGQUIT)

    def _cut(self, post: Post, fault: Fault, _extent: float) -> None:
        self._watch.note_holdings(fault, post.pid)
        post.proxy.cut()
        fault.until_s = time.monotonic()

    def _swallow(self, post: Post, fault: Fault, extent: float) -> None:
        self._watch.note_holdings(fault, post.pid)
        seconds = 0.3 + extent * 2.5 * LEASE_S
        fault.note = f"{seconds:.1f} s"
        fault.until_s = fault.at_s + seconds
        post.trial = fault
        post.proxy.swallow()

        def forward() -> None:
            post.proxy.forward()
            self._end_trial(post, fault)

        self._due.append((fault.until_s, forward))

    @staticmethod
    def _end_trial(post: Post, fault: Fault) -> None:
        fault.until_s = time.monotonic()
        if post.trial is fault:
            post.trial = None

    def _restart_redis(self, planned: Planned) -> None:
        away_s = 0.1 + planned.extent * 1.5
        fault = Fault(Kind.REDIS, time.monotonic(), victim="redis", note=f"away for {away_s:.1f} s")
        fault.until_s = fault.at_s + 60
        self._faults.append(fault)
        self._broker.kill()
        self.pause(away_s)
        self._broker.restart()
        fault.until_s = time.monotonic()
        self._on_fault(fault)


def mark_disturbed(faults: list[Fault]) -> None:
    """Marks recoveries that something may have held up which happened while they went on."""
    for fault in faults:
        over_s = fault.at_s + (fault.recovery_s or 0.0)
        fault.disturbed = fault.disturbed or any(
            other.kind in _DISTURBING and other.at_s <= over_s and fault.at_s <= other.until_s + 2 * LEASE_S
            for other in faults
        )
