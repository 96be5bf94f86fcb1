"""What is seen of a round from outside, in the broker, while it goes on."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from hardening.core.ledger import read_ledger
from tests.faults.chaos_plan import Kind
from tests.faults.chaos_verdict import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from hardening.core.keys import Keys
    from tests.faults.chaos_fleet import Post

__all__ = ["Watch"]

_TICK_S = 0.04
#: How often the ledger is read, in ticks.
_LEDGER_EVERY = 20
#: Faults during which losing the lease is no surprise, and for how long after, in seconds.
_LAPSING = (Kind.FREEZE, Kind.SWALLOW)
_LAPSE_AFTER_S = 3.0


class Watch:
    """Watches from a thread of its own: recoveries, leases, and the ledger.

    Args:
        client: of the broker, straight, with a short timeout.
        keys: of the deployment.
        crew_of: posts by the pid of each worker they ever had.
        faults: of the round so far; leases that were lost without a cause are added.
        on_lapse: told of each of those.

    Attributes:
        imbalances: every reading of the ledger that did not balance.
        readings: how often the ledger was read.
    """

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        crew_of: dict[int, Post],
        faults: list[Fault],
        on_lapse: Callable[[Fault], None],
    ) -> None:
        self._client = client
        self._keys = keys
        self._crew_of = crew_of
        self._faults = faults
        self._on_lapse = on_lapse
        self._recovering: dict[str, Fault] = {}
        self._known: dict[int, str] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-watch", daemon=True)
        self.imbalances: list[str] = []
        self.readings = 0

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Ends watching. Idempotent."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(10)

    def consumers_of(self, pid: int) -> list[str]:
        """The names under which a process holds leases, or held them until it died."""
        names = [*self.names(self._keys.leases), *self.names(self._keys.dead)]
        return [name for name in names if _pid_in(name) == pid]

    def names(self, key: str) -> list[str]:
        """The consumers in one of the sorted sets of the deployment."""
        stored: Any = self._client.zrange(key, 0, -1)
        return [name.decode() for name in stored]

    def note_holdings(self, fault: Fault, pid: int) -> list[str]:
        """Notes how much a worker holds. Returns the names under which it does."""
        try:
            names = self.consumers_of(pid)
            fault.inflight = sum(int(self._client.hlen(self._keys.inflight(name))) for name in names)
            fault.begun = sum(int(self._client.hlen(self._keys.started(name))) for name in names)
        except RedisError as error:
            fault.note = f"{fault.note} broker: {type(error).__name__}".strip()
            return []
        return names

    def await_recovery(self, fault: Fault, pid: int) -> None:
        """Takes the time, from the fault, until nothing is held any more under the names of a dead worker."""
        for name in self.note_holdings(fault, pid):
            if self._client.hlen(self._keys.inflight(name)):
                self._recovering[name] = fault

    @property
    def recovering(self) -> list[str]:
        """Names of the dead that still hold something."""
        return list(self._recovering)

    def _run(self) -> None:
        tick = 0
        while not self._stopped.wait(_TICK_S):
            tick += 1
            try:
                self._see_recoveries()
                if tick % 3 == 0:
                    self._see_leases()
                if tick % _LEDGER_EVERY == 0:
                    self._see_ledger()
            except RedisError:
                for fault in list(self._recovering.values()):
                    fault.disturbed = True

    def _see_recoveries(self) -> None:
        for name, fault in list(self._recovering.items()):
            if not self._client.hlen(self._keys.inflight(name)):
                fault.recovery_s = time.monotonic() - fault.at_s
                del self._recovering[name]

    def _see_leases(self) -> None:
        """A worker that has a new name has lost its lease."""
        for name in self.names(self._keys.leases):
            pid = _pid_in(name)
            post = self._crew_of.get(pid)
            if post is not None and self._known.setdefault(pid, name) != name:
                self._known[pid] = name
                self._lapsed(post, pid)

    def _lapsed(self, post: Post, pid: int) -> None:
        now_s = time.monotonic()
        of_it = [fault for fault in self._faults if fault.worker == pid and fault.kind in _LAPSING]
        if not any(fault.at_s <= now_s <= fault.until_s + _LAPSE_AFTER_S for fault in of_it):
            lapse = Fault(Kind.LAPSE, now_s - _LAPSE_AFTER_S, now_s, str(post), pid, post.crew.concurrency)
            self._faults.append(lapse)
            self._on_lapse(lapse)

    def _see_ledger(self) -> None:
        ledger = read_ledger(self._client, self._keys)
        self.readings += 1
        if not ledger.is_balanced:
            self.imbalances.append(f"{time.monotonic():.3f}: missing {ledger.missing}, stray {ledger.stray}: {ledger}")


def _pid_in(consumer: str) -> int:
    """The process of a consumer, whose name is ``host:pid:chance``."""
    return int(consumer.split(":")[-2])
