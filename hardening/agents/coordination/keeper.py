"""The one thread of a process that renews all permits and resources it holds.

It starts with the first lease and sleeps without a timeout while there is none. A forked child begins anew: what its
parent holds is the parent's.

Events: ``hardening.grant.reaped``, ``.renew_failed``.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from hardening.agents.coordination.events import GrantReaped, GrantsNotRenewed
from hardening.core import telemetry
from hardening.core.deployment import client_of, settings_of
from hardening.core.forked import forked_lock
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.coordinating import give_back, renew_grants

if TYPE_CHECKING:
    from celery import Celery

    from hardening.agents.coordination.leases import GrantLease

__all__ = ["Keeper", "keeper_of"]

_KEEPER = "_hardening_grants"
#: Leases that one call renews: well under a ms of Redis.
_BATCH = 200
#: How soon to try again when Redis is away, in seconds.
_RETRY_S = 0.25

_mutex = forked_lock()


class Keeper:
    """What one process holds by one app. Any thread may call any method.

    Args:
        app: a hardened app.

    Attributes:
        pid: of the process.
    """

    def __init__(self, app: Celery) -> None:
        self.pid = os.getpid()
        self._app = app
        self._keys = settings_of(app).keys
        self._mutex = threading.Lock()
        self._held: dict[str, GrantLease] = {}
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def keep(self, lease: GrantLease) -> None:
        """Renews a lease from now on."""
        with self._mutex:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="hardening-grants", daemon=True)
                thread.start()  # a machine that has no thread left raises here, and the next lease tries again
                self._thread = thread
            self._held[lease.claim.grant] = lease
        self._news.set()

    def give_back(self, lease: GrantLease) -> bool:
        """Renews it no more, and tells Redis. Returns whether it was still held there."""
        with self._mutex:
            if self._held.pop(lease.claim.grant, None) is None:
                return False
        try:
            return bool(give_back(self._keys, lease.claim).run(self._client(lease.ttl_s)))
        except (RedisError, OSError) as error:
            telemetry.emit(GrantsNotRenewed(grants=1, error=repr(error)))
            return False

    def run_once(self) -> float | None:
        """Renews what is due; returns after how many seconds the next is, or None: there is none.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        now_s = boot_clock_s()
        with self._mutex:
            held = list(self._held.values())
        due = [lease for lease in held if lease.renew_at_s <= now_s][:_BATCH]
        if due:
            shortest_s = min(lease.ttl_s for lease in due)
            answers: Any = renew_grants(self._keys, [lease.claim for lease in due]).run(self._client(shortest_s))
            for lease, is_renewed in zip(due, answers, strict=True):
                self._settle(lease, now_s, is_renewed=bool(is_renewed))
            return 0.0
        return max(0.0, min(lease.renew_at_s for lease in held) - now_s) if held else None

    def _settle(self, lease: GrantLease, asked_at_s: float, *, is_renewed: bool) -> None:
        with self._mutex:
            if lease.claim.grant not in self._held:
                return  # it was given back meanwhile
            if is_renewed:
                lease.renewed(asked_at_s)
                return
            del self._held[lease.claim.grant]
            lease.lost()
        telemetry.emit(GrantReaped(lot=lease.claim.lot, fence=lease.fence))

    def _client(self, ttl_s: float) -> Any:
        return client_of(self._app, patience_s=ttl_s / 3)

    def _run(self) -> None:
        while True:
            self._news.clear()
            try:
                wait_s = self.run_once()
            except (RedisError, OSError) as error:
                telemetry.emit(GrantsNotRenewed(grants=len(self._held), error=repr(error)))
                threading.Event().wait(_RETRY_S)
            else:
                self._news.wait(wait_s)


def keeper_of(app: Celery) -> Keeper:
    """The keeper of this process, for an app.

    Raises:
        ConfigError: the app is not hardened.
    """
    with _mutex:
        keeper: Keeper | None = vars(app).get(_KEEPER)
        if keeper is None or keeper.pid != os.getpid():
            keeper = Keeper(app)
            setattr(app, _KEEPER, keeper)
        return keeper
