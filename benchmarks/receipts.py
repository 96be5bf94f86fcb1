"""What a receipt takes of Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis import Redis

from benchmarks.app import QUEUE, make_app, noop_of
from benchmarks.row import Row
from benchmarks.side import Side
from hardening.core.scripts import Scope, Taken
from hardening.core.scripts.calls import renew
from hardening.core.settings import Settings

if TYPE_CHECKING:
    from benchmarks.stage import Stage

__all__ = ["ABOUT", "Archive", "measure"]

ABOUT = (
    "Memory of Redis for each receipt of a supervised send, its key and its share of Redis' tables included, the "
    "message not: while it is queued, and when it has been taken, begun and acked. Stock has no receipts."
)

_CONSUMER = "reader"
_PATIENCE_S = 120.0
_BATCH = 500


class Archive:
    """Makes receipts.

    Args:
        url: of a server of its own.
    """

    def __init__(self, *, url: str) -> None:
        self._url = url
        self._client: Any = Redis.from_url(url, socket_timeout=30.0)

    def __call__(self, *, receipts: int) -> tuple[float, float]:
        """Bytes for each: of one that is queued, and of one that is acked.

        Args:
            receipts: how many there are.
        """
        from hardening import stream_many  # noqa: PLC0415 - stock must not pay for it

        task, settings = noop_of(make_app(self._url, Side.HARDENED)), Settings()
        scope = Scope(settings.keys, settings.receipt_ttl_ms, _CONSUMER)
        before = self._memory()
        for _ in stream_many(task, (() for _ in range(receipts)), chunk=1000):
            pass
        queued = self._memory() - before - self._client.memory_usage(QUEUE, samples=0)
        renew(settings.keys, _CONSUMER, 600_000, join=True, about="{}").run(self._client)
        while taken := Taken.parse(scope.take(_CONSUMER, [QUEUE], _BATCH).run(self._client), [QUEUE]).messages:
            seqs = [str(message.seq) for message in taken]
            scope.ack(_CONSUMER, [], seqs).run(self._client)
            scope.ack(_CONSUMER, seqs).run(self._client)
        return queued / receipts, (self._memory() - before) / receipts

    def _memory(self) -> int:
        return int(self._client.info("memory")["used_memory"])


def measure(stage: Stage) -> list[Row]:
    """Each round on a new server."""
    rounds, receipts = stage.rounds(full=3, quick=2), stage.pick(50_000, 5_000)
    queued, acked = stage.samples("benchmarks.receipts:Archive", rounds, timeout_s=_PATIENCE_S, receipts=receipts)
    return [
        Row(name="memory of a receipt, queued", unit="bytes", hardened=queued),
        Row(name="memory of a receipt, acked", unit="bytes", hardened=acked),
    ]
