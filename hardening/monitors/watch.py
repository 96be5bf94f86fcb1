"""The thread of an owner: renews its lease, hears of downs, and takes its turn at looking after all monitors."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

from redis.exceptions import OutOfMemoryError, RedisError

from hardening.core import telemetry
from hardening.core.deployment import client_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import monitoring as scripts
from hardening.core.scripts.monitoring import Told
from hardening.monitors import events
from hardening.monitors.down import Down
from hardening.monitors.notices import Notices
from hardening.monitors.sweep import Sweeper
from hardening.monitors.teller import Teller

if TYPE_CHECKING:
    from hardening.monitors.owner import Owner

__all__ = ["Watch"]

#: How long the thread blocks on its bells at most, in seconds: so often it looks whether it is its turn.
_LISTEN_S = 0.5
#: How soon to try again when Redis is away, in seconds.
_RETRY_S = 0.25


class Watch:
    """Runs a daemon thread from the first monitor on; while its process has none, that asks Redis nothing.

    Guarantees: what is called on a down runs in another thread, and holds up neither the lease nor what others hear.

    Events: ``hardening.monitor.down``, ``.renewed``, ``hardening.lease.renew_failed``, ``hardening.chore.failed``;
    those of :class:`Sweeper`, :class:`Notices` and :class:`Teller`.

    Args:
        owner: whose monitors.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._work = threading.Event()
        self._teller = Teller()
        self._sweeper = Sweeper(owner.app, owner.name)
        self._notices = Notices(owner.app)
        self._heard = 0
        self._may_owe = False
        self._renew_at_s = 0.0

    def start(self) -> None:
        """There is something to look after. Idempotent."""
        if self._work.is_set() and self._thread is not None:
            return
        with self._mutex:
            self._work.set()
            if self._thread is None and not self._over.is_set():
                self._thread = threading.Thread(target=self._run, name="hardening-monitors", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """The process ends, and the thread after the round that is under way."""
        self._over.set()
        self._work.set()

    def _run(self) -> None:
        while True:
            self._work.wait()
            if self._over.is_set():
                return
            try:
                self.run_once()
            except (RedisError, OSError) as error:
                if self._over.is_set():
                    return
                telemetry.emit(telemetry.LeaseRenewFailed(consumer=self._owner.name, error=repr(error)))
                self._sweeper.lost_sight()
                self._renew_at_s = 0.0
                threading.Event().wait(_RETRY_S * random.uniform(0.5, 1.5))  # noqa: S311 - spread, not secret
            except Exception as error:  # noqa: BLE001 - the edge: a fault must not cost the lease
                telemetry.emit(telemetry.ChoreFailed(consumer=self._owner.name, error=repr(error)))
                threading.Event().wait(_RETRY_S)

    def run_once(self) -> None:
        """One round: renews if it is time, listens for a moment, hears, sweeps; or goes to sleep.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        owner, now_s = self._owner, boot_clock_s()
        if owner.table.is_idle and not (self._heard or self._may_owe):
            self._sleep()
            return
        self._settle()
        if now_s >= self._renew_at_s:
            self._renew()
            self._renew_at_s = now_s + owner.ttl_ms / 3000
        bells = [owner.keys.monitor_bell(owner.name), owner.keys.monitor_bell()]
        rung: Any = client_of(owner.app).brpop(bells, timeout=_LISTEN_S)
        if rung is not None and rung[0].decode() == bells[0]:
            self._hear()
        else:
            self._look(at_once=rung is not None or self._may_owe)

    def _look(self, *, at_once: bool) -> None:
        """Looks after everybody's monitors; after a down that is told by a task until that is sent, by whomever."""
        report = self._sweeper.run_once(at_once=at_once)
        if report.owed:
            self._notices.start()
        elif at_once:
            self._may_owe = False

    def _sleep(self) -> None:
        """Nothing is left to look after, unless it has come this very moment."""
        self._work.clear()
        if not self._owner.table.is_idle:
            self._work.set()

    def _renew(self) -> None:
        owner = self._owner
        before = owner.table.kept()  # what is confirmed only after Redis has counted is none of those forgotten
        has = self._hear(owner.ttl_ms)
        still = [held for held in before if owner.table.get(held.errand.id) is held]
        if has < len(still):
            owner.set_all(still)
            telemetry.emit(events.MonitorsRenewed(owner=owner.name, renewed=len(still)))

    def _settle(self) -> None:
        """Ends and sets what was left to this thread, and what could not be ended while Redis was away."""
        owner = self._owner
        while owed := owner.table.take_owed(200):
            try:
                owner.end_call(owed).run(client_of(owner.app))
            except BaseException:
                owner.table.owe(owed)
                raise
        while pending := owner.table.begin_pending(200):
            try:
                owner.set_all(pending)
            except OutOfMemoryError:  # they wait until there is room; the lease, and what is told, does not
                owner.table.put_back(pending)
                return
            except BaseException:
                owner.table.put_back(pending)
                raise

    def _hear(self, ttl_ms: int = 0) -> int:
        """Reads what this owner has been told, to the end. Returns how many monitors Redis has of it."""
        owner, client = self._owner, client_of(self._owner.app)
        while True:
            has, *downs = scripts.renew(owner.keys, owner.name, ttl_ms, self._heard).run(client)
            self._heard = 0
            if not downs:
                return int(has)
            for text in downs:
                self._heard += 1  # each by itself: one that cannot be told must not cost those behind it theirs
                self._tell(Told.parse(text))

    def _tell(self, told: Told) -> None:
        held = self._owner.table.take(told.id)
        if held is None:
            return
        down = Down.of(told, held.tag)
        self._may_owe = self._may_owe or held.errand.has_task
        telemetry.emit(events.MonitorDown(monitor=down.monitor, target=down.target, tag=down.tag, reason=down.reason))
        if held.on_down is not None:
            self._teller.tell(held.on_down, down, held.loop)
