"""The keys of signals; :mod:`hardening.core.keys` has the table of all."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.beat_keys import BeatKeys

__all__ = ["SignalKeys"]


@dataclass(frozen=True, slots=True)
class SignalKeys(BeatKeys):
    """What begins with ``{p}:signal``."""

    @property
    def signal_subscriptions(self) -> str:
        """Who is told of which signals."""
        return f"{self.prefix}:signal:subscriptions"

    @property
    def signal_expiring(self) -> str:
        """When subscriptions end that have a time to live."""
        return f"{self.prefix}:signal:expiring"

    @property
    def signal_changes(self) -> str:
        """Which subscriptions changed; its last id is the version of all of them."""
        return f"{self.prefix}:signal:changes"

    @property
    def signal_stats(self) -> str:
        """What became of signals."""
        return f"{self.prefix}:signal:stats"

    def signal_emitter(self, emitter: str) -> str:
        """What became of the last signal of an emitter, by which a repeat is known."""
        return f"{self.prefix}:signal:emitter:{emitter}"
