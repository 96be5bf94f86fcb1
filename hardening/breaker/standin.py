"""A breaker's stand-in: the same rule, for one process alone, while Redis is away.

It begins in the state that Redis told last, and ends when Redis is back. What it counted is forgotten then: the others
have counted too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardening.breaker.errors import CircuitOpen
from hardening.breaker.passage import Passage
from hardening.core.scripts.breaking import Seen

if TYPE_CHECKING:
    from hardening.core.scripts.breaking import Rates

__all__ = ["Standin"]

_TENTHS = 10


class Standin:
    """Does in this process what the scripts do in Redis. Not thread-safe: its circuit holds a lock.

    Args:
        name: the breaker's.
        rates: its rule.
        seen: what Redis said last, with a generation below 0, which goes down from there.
        now_s: the time, by the monotonic clock, as in every other call.
        who: this process.
    """

    def __init__(self, name: str, rates: Rates, seen: Seen, now_s: float, who: str) -> None:
        self._name = name
        self._rates = rates
        self._who = who
        self._tenths: dict[int, list[int]] = {}
        self._probes: dict[str, float] = {}
        self._healed = 0
        self._until_s = now_s + seen.left_ms / 1000 if seen.left_ms >= 0 else float("inf")
        self.seen = seen

    def enter(self, now_s: float, token: str) -> Passage:
        """Lets a call through.

        Raises:
            CircuitOpen: not now.
        """
        if self.seen.state == "open" and now_s >= self._until_s:
            self._become("half_open", "its pause was over")
        if self.seen.state == "closed":
            return Passage(self.seen.generation, now_s)
        open_s = self._rates.open_ms / 1000
        if self.seen.state == "open":
            raise CircuitOpen(self._name, min(self._until_s - now_s, open_s))
        self._probes = {probe: until_s for probe, until_s in self._probes.items() if until_s > now_s}
        if len(self._probes) + self._healed >= self._rates.probes:
            raise CircuitOpen(self._name, min(self._probes.values(), default=now_s + open_s) - now_s)
        self._probes[token] = now_s + open_s
        return Passage(self.seen.generation, now_s, token)

    def leave(self, passage: Passage, now_s: float, *, calls: int, failures: int, slow: int) -> None:
        """A call has ended."""
        rates = self._rates
        if passage.generation != self.seen.generation:
            return
        self._probes.pop(passage.probe, None)
        if not calls:
            return
        if self.seen.state == "half_open":
            self._healed += 1
            if failures or (slow and rates.slow_rate <= 1):
                self._open(now_s, "a probe failed" if failures else "a probe was slow")
            elif self._healed >= rates.probes:
                self._become("closed", f"{rates.probes} probes succeeded")
            return
        sums = self._add(now_s, (calls, failures, slow))
        if sums[0] >= rates.minimum_calls:
            if sums[1] / sums[0] >= rates.failure_rate:
                self._open(now_s, f"{sums[1]} of {sums[0]} failed")
            elif sums[2] / sums[0] >= rates.slow_rate:
                self._open(now_s, f"{sums[2]} of {sums[0]} were slow")

    def _add(self, now_s: float, counts: tuple[int, int, int]) -> list[int]:
        tenth = int(now_s * 1000 / (self._rates.window_ms / _TENTHS))
        self._tenths = {at: sums for at, sums in self._tenths.items() if at > tenth - _TENTHS}
        own = self._tenths.setdefault(tenth, [0, 0, 0])
        own[:] = [before + more for before, more in zip(own, counts, strict=True)]
        return [sum(column) for column in zip(*self._tenths.values(), strict=True)]

    def _open(self, now_s: float, why: str) -> None:
        self._until_s = now_s + self._rates.open_ms / 1000
        self._become("open", why)

    def _become(self, state: str, why: str) -> None:
        self._tenths.clear()
        self._probes.clear()
        self._healed = 0
        self.seen = Seen(state, self.seen.generation - 1, 0, self._who, why, is_changed=True)
