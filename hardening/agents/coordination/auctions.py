"""Agents bid for a task: sealed bids, of which the highest wins, at the price of the second.

That is William Vickrey's auction (1961): the best that any bidder can do is to bid what the task is worth to it,
whatever the others bid. What a bid means is the bidders' affair: what they have to spare, for instance.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from hardening.agents.coordination.answers import answers, asked
from hardening.agents.coordination.bench import bench_of
from hardening.agents.coordination.names import checked_s

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from celery import Celery

    from hardening.agents.coordination.bench import Bench

__all__ = ["AuctionResult", "auction", "award"]


@dataclass(frozen=True, slots=True)
class AuctionResult:
    """What came of an auction. True if somebody won it.

    Attributes:
        winner: who; None: nobody bid.
        price: the second highest bid; the reserve, if there was but one bid; None: nobody bid.
        bids: what each bid, the highest first, ties by name.
        silent: those without a bid that counts, and why.
    """

    winner: str | None
    price: float | None
    bids: Mapping[str, float]
    silent: Mapping[str, str]

    def __bool__(self) -> bool:
        return self.winner is not None


def auction(
    task: Any,
    bidders: Iterable[str],
    timeout: float = 5.0,
    *,
    reserve: float = 0.0,
    seed: int | str | None = None,
    bench: Bench | None = None,
    app: Celery | None = None,
) -> AuctionResult:
    """Has agents bid for a task; tells nobody of it.

    Each is asked by its handler ``on_bid(task)``, all at once, and hears of no other bid. It returns a number, or None:
    it does not bid. Of equal bids wins that of the first name; with a ``seed``, of one drawn by it: the same seed draws
    the same of the same.

    Args:
        task: what they bid for, JSON.
        bidders: their names, at most 256.
        timeout: how long they may take, in seconds; who has not bid then does not bid.
        reserve: the least bid that counts, and the price of a single one.
        seed: see above.
        bench: how agents are reached; default: as those of the app.
        app: a hardened app; default: the current one.

    Raises:
        ConfigError: the app is not hardened.
        ValueError: an argument that makes no sense.
        TypeError: the task is not JSON.
    """
    names, timeout_s = asked(bidders, "bidders"), checked_s(timeout, "timeout")
    if isinstance(reserve, bool) or not isfinite(reserve) or reserve < 0:
        raise ValueError(f"reserve is {reserve!r}, expected a number of 0 or more")
    bids: dict[str, float] = {}
    silent = dict.fromkeys(names, f"it did not bid within {timeout_s:g} s")
    for answer in answers(bench or bench_of(app), names, "on_bid", (task,), timeout_s):
        why = answer.error or _fault(answer.value, reserve)
        if why:
            silent[answer.agent] = why
        else:
            del silent[answer.agent]
            bids[answer.agent] = answer.value
    return award(bids, silent, reserve=reserve, seed=seed)


def award(
    bids: Mapping[str, float], silent: Mapping[str, str], *, reserve: float = 0.0, seed: int | str | None = None
) -> AuctionResult:
    """Who wins, and at what price; see :func:`auction`."""
    ranked = sorted(bids.items(), key=lambda bid: (-bid[1], bid[0]))
    if not ranked:
        return AuctionResult(None, None, {}, silent)
    equal = [name for name, bid in ranked if bid == ranked[0][1]]
    winner = equal[0] if seed is None else random.Random(seed).choice(equal)  # noqa: S311 - a draw, not a secret
    price = ranked[1][1] if len(ranked) > 1 else reserve
    return AuctionResult(winner, price, dict(ranked), silent)


def _fault(bid: Any, reserve: float) -> str:
    """Why a bid does not count; empty: it does."""
    if bid is None:
        return "it does not bid"
    if isinstance(bid, bool) or not isinstance(bid, int | float) or not isfinite(bid):
        return f"it bid {str(bid)[:50]!r}, which is no number"
    return "" if bid >= reserve else f"it bid {bid:g}, below the reserve of {reserve:g}"
