"""A permit of a semaphore, or a resource of a pool, while this process holds it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from hardening.agents.coordination.errors import GrantLost
from hardening.core.membership import boot_clock_s

if TYPE_CHECKING:
    from types import TracebackType

    from hardening.agents.coordination.keeper import Keeper
    from hardening.core.scripts.coordinating import Claim, Granted

__all__ = ["GrantLease"]


class GrantLease:
    """What was granted, to be given back: at the end of a ``with`` block, or by :meth:`release`.

    It is renewed by one thread of the process for as long as the process lives, and goes back by itself when it dies.
    A forked child has no part in it: there :meth:`is_held` is false, and :meth:`release` does nothing.

    Attributes:
        claim: how Redis knows it.
        fence: its number, higher than that of any grant before.
        resource: which one of the pool; empty: a permit.
        ttl_s: how long it lasts without renewal, in seconds.
        renew_at_s: when the keeper renews it, on :func:`~hardening.core.membership.boot_clock_s`.
    """

    def __init__(self, keeper: Keeper, claim: Claim, granted: Granted, asked_at_s: float) -> None:
        self.claim = claim
        self.fence = granted.fence
        self.resource = granted.resource
        self.ttl_s = claim.ttl_ms / 1000
        self._keeper = keeper
        self._pid = os.getpid()
        self.renewed(asked_at_s)

    def __repr__(self) -> str:
        return f"GrantLease({self.claim.lot!r}, fence={self.fence}, resource={self.resource!r})"

    def keep(self) -> None:
        """Has it renewed from now on."""
        self._keeper.keep(self)

    def renewed(self, asked_at_s: float) -> None:
        """The keeper has renewed it."""
        self._until_s = asked_at_s + self.ttl_s
        self.renew_at_s = asked_at_s + self.ttl_s / 3

    def lost(self) -> None:
        """It was taken away, or given back."""
        self._until_s = 0.0

    def is_held(self) -> bool:
        """Whether it is held, by this process's own clock; asks nobody."""
        return boot_clock_s() < self._until_s and os.getpid() == self._pid

    def must_hold(self) -> int:
        """The fence number, to be written along with what is done with it.

        Raises:
            GrantLost: it is not held any more.
        """
        if not self.is_held():
            raise GrantLost(self.claim.lot, self.fence)
        return self.fence

    def release(self) -> bool:
        """Gives it back; who waits first has it next. Idempotent.

        Returns:
            Whether Redis has it back. While that is away nothing is raised: the lease then runs out by itself.
        """
        if os.getpid() != self._pid:
            return False
        self.lost()
        return self._keeper.give_back(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
