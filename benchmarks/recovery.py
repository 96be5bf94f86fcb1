"""How long it takes until what a dead consumer held is back in its queue."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from redis import Redis

from benchmarks.app import QUEUE
from benchmarks.failure import MeasureFailed
from benchmarks.mint import Mint
from benchmarks.patience import until
from benchmarks.row import Row
from benchmarks.sample import Sample
from benchmarks.side import Side
from hardening.core.scripts import Scope
from hardening.core.scripts.calls import renew
from hardening.core.settings import Settings
from hardening.transport.recovery import Recoverer

if TYPE_CHECKING:
    from benchmarks.stage import Stage
    from hardening.core.membership import Lease

__all__ = ["ABOUT", "Mortuary", "measure"]

ABOUT = (
    "Sweeps (Recoverer.run_once) from the moment the lease has run out until all that its consumer held is queued "
    "again; each ends after a sixth of a lease at the latest, and a worker adds up to 1 s until its next beat. "
    "Longest block: the longest that one call of the sweep kept Redis from serving others, by Redis's own slow log. "
    "Stock gives messages back after 3,600 s, so it has no figure."
)

_BATCH = 500
_VICTIM = "victim"
_PATIENCE_S = 120.0


class Mortuary:
    """Has a consumer take messages and die, and sweeps.

    Args:
        url: of a server of its own.
    """

    def __init__(self, *, url: str) -> None:
        self._client: Any = Redis.from_url(url, socket_timeout=30.0)
        self._settings = Settings()
        self._scope = Scope(self._settings.keys, self._settings.receipt_ttl_ms, _VICTIM)
        self._mint = Mint.of(Side.HARDENED, url, self._client)
        lease = cast("Lease", SimpleNamespace(consumer="sweeper", is_steady=lambda: True))
        self._recoverer = Recoverer(
            self._client, self._scope, self._settings, lease=lease, on_buried=lambda _: None
        )  # fmt: skip

    def __call__(self, *, messages: int) -> tuple[float, float]:
        """How long the sweep took and the longest block, in milliseconds."""
        self._take(messages)
        self._expire()
        self._client.config_set("slowlog-max-len", 100_000)
        self._client.config_set("slowlog-log-slower-than", 20)
        begin_s = time.perf_counter()
        moved = 0
        while moved < messages and (more := self._recoverer.run_once()):  # one sweep is bounded in time
            moved += more
        took_s = time.perf_counter() - begin_s
        self._client.config_set("slowlog-log-slower-than", -1)
        if not moved == messages == self._client.llen(QUEUE):
            raise MeasureFailed(f"{moved:,} of {messages:,} messages came back")
        slow = self._client.slowlog_get(100_000)
        blocks_us = [entry["duration"] for entry in slow if entry["command"].upper().startswith(b"EVAL")]
        return took_s * 1e3, max(blocks_us, default=20) / 1e3

    def _take(self, messages: int) -> None:
        keys = self._settings.keys
        renew(keys, _VICTIM, 600_000, join=True, about="{}").run(self._client)
        for first in range(0, messages, _BATCH):
            batch = min(_BATCH, messages - first)
            pipeline = self._client.pipeline(transaction=False)
            for number, raw in enumerate(self._mint.copies(batch, first=first)):
                call = self._scope.publish(QUEUE, QUEUE, raw)
                pipeline.execute_command(*(call.command if first or number else call.full_command))
            pipeline.execute()
            self._scope.take(_VICTIM, [QUEUE], batch).run(self._client)

    def _expire(self) -> None:
        renew(self._settings.keys, _VICTIM, 1, join=False, about="{}").run(self._client)
        expiry_ms = self._client.zscore(self._settings.keys.leases, _VICTIM)

        def is_over() -> bool:
            seconds, micros = self._client.time()
            return bool(seconds * 1000 + micros // 1000 > expiry_ms)

        until(is_over, "the lease to run out", timeout_s=5.0, every_s=0.001)


def measure(stage: Stage) -> list[Row]:
    """Sweeps after ever larger deaths, each on a new server."""
    sizes = stage.pick((10, 100, 1_000, 10_000, 100_000), (10, 100, 1_000, 10_000))
    rounds = stage.rounds(full=5, quick=3)
    took_ms: dict[int, list[float]] = {size: [] for size in sizes}
    blocked_ms: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(1, rounds + 1):
        for size in sizes:
            stage.tell(f"round {number} of {rounds}: {size:,} messages")
            with stage.redis() as server, stage.child("benchmarks.recovery:Mortuary", server) as child:
                took, blocked = child.ask(timeout_s=_PATIENCE_S, messages=size)
            took_ms[size].append(took)
            blocked_ms[size].append(blocked)
    return [
        *(Row(name=f"{size:,} messages", unit="ms", hardened=Sample.of(took_ms[size])) for size in sizes),
        *(Row(name=f"{size:,}: longest block", unit="ms", hardened=Sample.of(blocked_ms[size])) for size in sizes),
    ]
