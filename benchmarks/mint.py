"""Messages by the hundred thousand: copies of one that Celery made, each with ids of its own."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from benchmarks.app import QUEUE, make_app, noop_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from benchmarks.side import Side

__all__ = ["Mint", "fill"]

_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Messages in one LPUSH.
_BATCH = 500


class Mint:
    """Copies a raw message.

    Args:
        raw: what Celery put into the list.
    """

    def __init__(self, raw: bytes) -> None:
        self._mould = raw.replace(b"%", b"%%")
        self._ids = 0
        for number, found in enumerate(dict.fromkeys(_ID.findall(raw))):
            # Which ids are the same stays as it is; the last twelve digits tell the copies apart.
            self._ids += self._mould.count(found)
            self._mould = self._mould.replace(found, b"%08x" % number + found[8:24] + b"%012x")

    @classmethod
    def of(cls, side: Side, broker_url: str, client: Redis) -> Mint:
        """A mint for what one side publishes. Leaves the server, which must be its own, empty."""
        app = make_app(broker_url, side)
        try:
            noop_of(app).delay()
        finally:
            app.close()
        raw: bytes = client.rpop(QUEUE)  # type: ignore[assignment]
        client.flushall()
        return cls(raw)

    def copies(self, count: int, *, first: int = 0) -> Iterator[bytes]:
        """So many messages, numbered from ``first``."""
        for number in range(first, first + count):
            yield self._mould % ((number,) * self._ids)


def fill(client: Redis, copies: Iterator[bytes], queue: str = QUEUE) -> None:
    """Puts messages into a list as kombu would, many at once."""
    while batch := list(islice(copies, _BATCH)):
        client.lpush(queue, *batch)
