"""Semaphores and pools of resources that processes share, first come, first served.

    with semaphore("exports", 3).acquire(timeout=10) as permit:
        export(fence=permit.must_hold())
    with resource_pool("printers", ["attic", "cellar"]).acquire(timeout=10) as printer:
        print_on(printer.resource)

Guarantees: never more is held than there is, by the clocks of the holders: who is frozen or cut off knows that its
lease is over before another has it. What a process held that died is free when its lease has run out; who waits
is told at once of what is given back, and wakes by itself for what runs out. Who came first is served first, as
long as it is there: one that dies, or is frozen, in the line is passed over after a few seconds.

Does not guarantee: that what a holder has begun stops when its lease is lost; for that, use the fence.

Does not know: what another process believes the number of permits to be. Each is judged by what it says itself.

Events: ``hardening.grant.reaped``, ``.renew_failed``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from celery._state import get_current_app
from redis.exceptions import RedisError

from hardening.agents.coordination.errors import ResourceTimeout
from hardening.agents.coordination.keeper import keeper_of
from hardening.agents.coordination.leases import GrantLease
from hardening.agents.coordination.names import checked_name, checked_s, new_identity
from hardening.core.deployment import client_of, settings_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.coordinating import Claim, Granted, give_back, grant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celery import Celery

__all__ = ["Pool", "resource_pool", "semaphore"]

#: After how many seconds of silence one in the line is passed over, and how often each says that it is there.
_PATIENCE_S = 3.0
_LISTEN_S = 1.0
#: How soon to ask again when Redis is away, in seconds.
_RETRY_S = 0.1
#: After a lease has run out: what Redis rounds, in seconds.
_AFTER_S = 0.005
#: The shortest lease that a busy machine can keep, in seconds.
_SHORTEST_S = 0.3
_MOST_RESOURCES, _MOST_PERMITS = 1000, 100_000


def semaphore(name: str, permits: int, *, ttl: float = 10.0, app: Celery | None = None) -> Pool:
    """So many may hold it at a time.

    Args:
        name: of the semaphore.
        permits: how many, from 1; the same for all who use it.
        ttl: how long a permit lasts without renewal, in seconds, from 0.3: so long is it kept for a holder that died.
        app: a hardened app; default: the current one.

    Raises:
        ConfigError: the app is not hardened.
        ValueError: an argument that makes no sense.
    """
    if isinstance(permits, bool) or not isinstance(permits, int) or not 1 <= permits <= _MOST_PERMITS:
        raise ValueError(f"permits is {permits!r}, expected how many may hold it, from 1 to {_MOST_PERMITS}")
    return Pool(f"semaphore:{checked_name(name, 'name')}", permits, (), ttl, app)


def resource_pool(name: str, resources: Iterable[str], *, ttl: float = 10.0, app: Celery | None = None) -> Pool:
    """Each of some resources may be held by one at a time; who asks gets the first that is free.

    Args:
        name: of the pool.
        resources: their names, at most 1,000; the same for all who use it.
        ttl: as for :func:`semaphore`.
        app: a hardened app; default: the current one.

    Raises:
        ConfigError: the app is not hardened.
        ValueError: an argument that makes no sense.
    """
    if isinstance(resources, str):
        raise ValueError(f"resources is {resources!r}, expected several, such as ['a', 'b']")
    named = tuple(dict.fromkeys(checked_name(one, "a resource") for one in resources))
    if not 1 <= len(named) <= _MOST_RESOURCES:
        raise ValueError(f"{len(named)} resources, expected from 1 to {_MOST_RESOURCES}")
    return Pool(f"pool:{checked_name(name, 'name')}", len(named), named, ttl, app)


class Pool:
    """A semaphore, or a pool of resources. Any thread of any process may use it, also a child that was forked."""

    def __init__(self, lot: str, permits: int, resources: tuple[str, ...], ttl: float, app: Celery | None) -> None:
        self._app: Celery = app or get_current_app()
        self._settings = settings_of(self._app)
        self._lot = lot
        self._permits = permits
        self._resources = resources
        self._ttl_s = checked_s(ttl, "ttl", least=_SHORTEST_S)

    def __repr__(self) -> str:
        return f"Pool({self._lot!r}, permits={self._permits})"

    def acquire(self, timeout: float = 5.0) -> GrantLease:
        """Waits for a permit, or a resource; use what it returns in a ``with`` statement.

        Args:
            timeout: how long, in seconds; 0: only if one is free now.

        Raises:
            ResourceTimeout: none was free in time.
            redis.RedisError: Redis could not be asked until then; what it may have granted goes back by itself.
        """
        timeout_s = checked_s(timeout, "timeout")
        claim = Claim(self._lot, new_identity(), round(self._ttl_s * 1000))
        try:
            return self._wait(claim, boot_clock_s() + timeout_s, timeout_s)
        except BaseException:
            self._leave(claim)
            raise

    def _wait(self, claim: Claim, until_s: float, timeout_s: float) -> GrantLease:
        while True:
            asked_at_s = boot_clock_s()
            try:
                told = self._ask(claim)
                left_s = until_s - boot_clock_s()
                if not told.fence and left_s > 0:
                    self._listen(claim, told, left_s)
                    continue
            except (RedisError, OSError):
                if boot_clock_s() >= until_s:
                    raise
                threading.Event().wait(_RETRY_S)
                continue
            if not told.fence:
                raise ResourceTimeout(self._lot, timeout_s, told.ahead)
            lease = GrantLease(keeper_of(self._app), claim, told, asked_at_s)
            lease.keep()
            return lease

    def _ask(self, claim: Claim) -> Granted:
        patience_ms = round(_PATIENCE_S * 1000)
        call = grant(
            self._settings.keys, claim, patience_ms=patience_ms, permits=self._permits, resources=self._resources
        )
        return Granted.parse(call.run(client_of(self._app, patience_s=self._ttl_s / 3)))

    def _listen(self, claim: Claim, told: Granted, left_s: float) -> None:
        """Until it is rung for, or somebody's lease runs out, or it is time to say that this one still waits."""
        is_soon = told.left_ms >= 0 and told.ahead < self._permits
        next_s = told.left_ms / 1000 + _AFTER_S if is_soon else _LISTEN_S
        for_s = min(left_s, next_s, _LISTEN_S, self._settings.socket_timeout_s / 2)
        bell: Any = [self._settings.keys.grant_bell(claim.grant)]
        client_of(self._app).brpop(bell, timeout=for_s)

    def _leave(self, claim: Claim) -> None:
        """Out of the line; who was woken in vain wakes the next."""
        try:
            give_back(self._settings.keys, claim).run(client_of(self._app, patience_s=_LISTEN_S))
        except (RedisError, OSError):
            return  # it is passed over after a few seconds
