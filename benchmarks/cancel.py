"""How long it takes to cancel one message in a deep queue, and for how long that keeps Redis from serving others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from redis import Redis

from benchmarks.app import QUEUE, make_app, noop_of
from benchmarks.failure import MeasureFailed
from benchmarks.mint import Mint, fill
from benchmarks.row import Row, Target
from benchmarks.side import Side

if TYPE_CHECKING:
    from benchmarks.stage import Stage

__all__ = ["ABOUT", "Canceller", "measure"]

ABOUT = (
    "receipt.cancel() of the message that was queued last, of the one in the middle and of the one that was queued "
    "first, which is where the search ends, in one queue. Block: the longest that one call kept Redis, by its own log, "
    "preemption included; a removal takes longest in the middle, for Redis counts its way there. Stock revokes: it "
    "keeps the id in every worker, and the message in its queue."
)

_PATIENCE_S = 230.0
#: The longest one slice of a search may keep Redis from serving others, in ms.
_MOST_MS = 10.0


class Canceller:
    """Cancels in a deep queue.

    Args:
        url: of a server of its own.
    """

    def __init__(self, *, url: str) -> None:
        self._url = url
        self._client: Any = Redis.from_url(url, socket_timeout=30.0)

    def __call__(self, *, depth: int) -> tuple[float, ...]:
        """The times for the newest, the middle and the oldest, and the longest blocks, searching and removing, in ms.

        Args:
            depth: how many messages are queued.
        """
        from hardening import supervised_send  # noqa: PLC0415 - stock must not pay for it

        task = noop_of(make_app(self._url, Side.HARDENED))
        mint, half = Mint.of(Side.HARDENED, self._url, self._client), depth // 2
        oldest = supervised_send(task)
        fill(self._client, mint.copies(half), QUEUE)
        middle = supervised_send(task)
        fill(self._client, mint.copies(depth - half, first=half), QUEUE)
        newest = supervised_send(task)
        self._client.config_set("slowlog-log-slower-than", 0)
        self._client.config_set("slowlog-max-len", 10_000)
        times_ms, searching_us, removing_us = [], [0], [0]
        for receipt in (newest, middle, oldest):
            self._client.slowlog_reset()
            begin_s = time.perf_counter()
            cancelled = receipt.cancel()
            times_ms.append((time.perf_counter() - begin_s) * 1e3)
            if not (cancelled and cancelled.place == "queue"):
                raise MeasureFailed(f"the message was not cancelled in its queue: {cancelled}")
            blocks = [one["duration"] for one in self._client.slowlog_get(10_000) if b"EVALSHA" in one["command"]]
            removing_us.append(blocks[0])
            searching_us += blocks[1:]
        return *times_ms, max(searching_us) / 1e3, max(removing_us) / 1e3


def measure(stage: Stage) -> list[Row]:
    """Each round on a new server."""
    rounds, depth = stage.rounds(full=3, quick=2), stage.pick(1_000_000, 20_000)
    newest, middle, oldest, searching, removing = stage.samples(
        "benchmarks.cancel:Canceller", rounds, timeout_s=_PATIENCE_S, depth=depth
    )
    return [
        Row(name=f"cancel the newest of {depth:,}", unit="ms", hardened=newest),
        Row(name=f"cancel one in the middle of {depth:,}", unit="ms", hardened=middle),
        Row(name=f"cancel the oldest of {depth:,}", unit="ms", hardened=oldest),
        Row(name="longest block of a search", unit="ms", hardened=searching, target=Target.at_most(_MOST_MS)),
        Row(name="longest block of a removal", unit="ms", hardened=removing),
    ]
