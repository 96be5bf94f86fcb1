"""What tests of monitors share: targets that live and die by the scripts, and who was told."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from hardening.core.scripts import calls
from hardening.core.scripts.broadcasting import consume
from tests.eventually import eventually

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.keys import Keys
    from hardening.monitors import Down

__all__ = ["Heard", "Targets", "keys_of_monitors"]


class Targets:
    """Workers that are played.

    Args:
        client: replies must not be decoded.
        keys: of the deployment.
    """

    def __init__(self, client: Redis, keys: Keys) -> None:
        self.client: Any = client
        self.keys = keys

    def join(self, consumer: str, *queues: str, node: str = "", ttl_ms: int = 600_000) -> str:
        """A worker starts, and takes from queues. Returns its target."""
        about = f'{{"host": "h", "pid": 1, "node": "{node}"}}'
        calls.renew(self.keys, consumer, ttl_ms, join=True, about=about, node=node).run(self.client)
        if queues:
            consume(self.keys, consumer, queues).run(self.client)
        return f"worker:{consumer}"

    def leave(self, consumer: str) -> None:
        """It says goodbye."""
        calls.leave(self.keys, consumer).run(self.client)

    def expire(self, consumer: str) -> None:
        """It has been silent for a lease."""
        self.client.zadd(self.keys.leases, {consumer: 1}, xx=True)

    def now_ms(self) -> int:
        """The time at Redis."""
        seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000


class Heard:
    """Who is told of downs: call it, then ask what it heard."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self.downs: list[Down] = []

    def __call__(self, down: Down) -> None:
        """Is told."""
        with self._mutex:
            self.downs.append(down)

    def soon(self, count: int = 1, timeout_s: float = 10.0) -> list[tuple[str, str]]:
        """Waits for so many; returns tag and reason of each, sorted."""
        eventually(lambda: len(self.downs) >= count, timeout_s)
        return sorted((down.tag, down.reason.value) for down in self.downs)


def keys_of_monitors(client: Redis, keys: Keys) -> set[str]:
    """The keys there are that hold monitors, or name them; without the turn, bells and counters."""
    found = {key.decode().removeprefix(f"{keys.prefix}:") for key in client.scan_iter(f"{keys.prefix}:*", count=10_000)}
    kinds = ("owners", "monitors:", "monitored:", "monitor:")
    passing = ("monitor:turn", "monitor:bell")
    return {key for key in found if key.startswith(kinds) and not key.startswith(passing)}
