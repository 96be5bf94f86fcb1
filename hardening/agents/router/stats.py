"""What became of all signals of a deployment, as the scripts counted it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardening.core.deployment import client_of, settings_of
from hardening.delivery.outgoing import owner_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

__all__ = ["ENDS", "SignalStats", "bucket_of", "signal_stats"]

#: Bounds of the buckets of latency, in us; what is longer is in the last, which has none.
_BOUNDS_US = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 5_000_000)
_LABELS = (*(str(bound) for bound in _BOUNDS_US), "inf")
#: Reasons of the script that tell of the end of a subscription, and are no drop.
ENDS = frozenset({"expired", "worker_gone", "agent_gone"})


@dataclass(frozen=True, slots=True)
class SignalStats:
    """What became of signals since counting began.

    Latency is how long emitters waited, each told with its next signal: the last of each emitter is not in it.

    Attributes:
        emitted: signals.
        routed: messages that subscribers got.
        unrouted: signals that nobody got.
        dropped: messages that were dropped, by reason; with ``mailbox_full_oldest`` another one was.
        ended: subscriptions that were found to be over when a signal met them, by reason; a pair counts once.
        subscriptions: how many there are.
        mean_s: latency, in seconds; None: nothing was measured.
        p50_s: half took at most as long, by the bounds of buckets, in seconds; None: likewise, or longer than any.
        p99_s: likewise, 99 of 100.
    """

    emitted: int
    routed: int
    unrouted: int
    dropped: Mapping[str, int]
    ended: Mapping[str, int]
    subscriptions: int
    mean_s: float | None
    p50_s: float | None
    p99_s: float | None


def signal_stats(app: Celery | None = None) -> SignalStats:
    """Reads them.

    Raises:
        redis.RedisError: Redis could not be asked.
        ConfigError: the app is not hardened.
    """
    owner = owner_of("", app)
    keys, client = settings_of(owner).keys, client_of(owner)
    stored: Any = client.hgetall(keys.signal_stats)
    counts = {name.decode("utf-8", "replace"): int(value) for name, value in stored.items()}
    reasons = {
        name.removeprefix("dropped:"): count for name, count in sorted(counts.items()) if name.startswith("dropped:")
    }
    measured = [counts.get(f"us<{label}", 0) for label in _LABELS]
    total = sum(measured)
    return SignalStats(
        emitted=counts.get("emitted", 0),
        routed=counts.get("routed", 0),
        unrouted=counts.get("unrouted", 0),
        dropped={name: count for name, count in reasons.items() if name not in ENDS},
        ended={name: count for name, count in reasons.items() if name in ENDS},
        subscriptions=int(client.hlen(keys.signal_subscriptions)),
        mean_s=counts.get("us", 0) / total / 1e6 if total else None,
        p50_s=_share(measured, 0.5),
        p99_s=_share(measured, 0.99),
    )


def bucket_of(seconds: float) -> str:
    """The bucket of a latency."""
    return _LABELS[bisect_left(_BOUNDS_US, seconds * 1e6)]


def _share(measured: list[int], share: float) -> float | None:
    """The bound below which so many of all are."""
    left = share * sum(measured)
    for bound_us, count in zip(_BOUNDS_US, measured, strict=False):
        left -= count
        if left <= 0 and any(measured):
            return bound_us / 1e6
    return None
