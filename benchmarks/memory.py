"""Whether a process that sends very many messages from a generator grows with their number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import Redis

from benchmarks.app import make_app
from benchmarks.failure import MeasureFailed
from benchmarks.row import Row, Target
from benchmarks.sample import Sample
from benchmarks.side import Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.stage import Stage

__all__ = ["ABOUT", "Streamer", "measure"]

ABOUT = (
    "The peak of the resident memory of a process that sends so many messages of about 800 bytes from a generator, a "
    "process for each number; its Redis is emptied meanwhile. stream_many() must not grow with their number, while "
    "send_many() keeps what it returns, the receipts. Stock has neither."
)

#: After how many messages Redis is emptied: it is not what is measured.
_EMPTY = 20_000
_WARM_UP = 2_000
_PATIENCE_S = 300.0
#: How much higher the peak of the many may be, in MB: what Python and the C library keep in reserve. Of a million
#: messages it would hold 2 bytes each.
_MOST_MB = 2.0
_STATUS = Path("/proc/self/status")


class Streamer:
    """Sends one task again and again, and looks at the memory of its own process.

    Args:
        url: of a server of its own.
    """

    def __init__(self, *, url: str) -> None:
        from hardening import send_many, stream_many  # noqa: PLC0415 - as for the other subjects

        app = make_app(url, Side.HARDENED)

        @app.task(name="benchmarks.charge", shared=False)
        def charge(order: int, note: str) -> None:
            """Nothing."""

        self._charge: Any = charge
        self._client: Any = Redis.from_url(url, socket_timeout=30.0)
        self._ways: dict[str, Callable[..., Iterable[object]]] = {"stream": stream_many, "send": send_many}
        self._emptied = 0
        self(way="stream", messages=_WARM_UP)

    def __call__(self, *, way: str, messages: int) -> tuple[float, float]:
        """Bytes of this process before, and at most until the end; the most that it ever had before included.

        Args:
            way: ``stream`` or ``send``, for ``stream_many`` or ``send_many``.
            messages: how many.
        """
        before, self._emptied = _memory("VmRSS"), 0
        made = ((number, f"order {number} of a shop that sells very much") for number in range(messages))
        sent = sum(1 for _ in self._ways[way](self._charge, made, on_progress=self._empty))
        if sent != messages:
            raise MeasureFailed(f"{sent:,} of {messages:,} messages were sent")
        return before, _memory("VmHWM")

    def _empty(self, sent: int) -> None:
        if sent - self._emptied >= _EMPTY:
            self._emptied = sent
            self._client.flushall(asynchronous=True)


def _memory(field: str) -> float:
    """What Linux says of this process, in bytes. The peak that getrusage() tells may be that of who started it."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError as error:
        raise MeasureFailed(f"the peak of a process is read from {_STATUS}, which is not here") from error
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def measure(stage: Stage) -> list[Row]:
    """A new process and a new server for each number."""
    rounds, few = stage.rounds(full=1, quick=1), stage.pick(10_000, 5_000)
    many, kept = stage.pick(1_000_000, 50_000), stage.pick(100_000, 20_000)
    peaks: dict[int, list[float]] = {few: [], many: []}
    receipts = []
    for number in range(1, rounds + 1):
        for size, found in peaks.items():
            stage.tell(f"round {number} of {rounds}: {size:,} messages")
            found.append(_ask(stage, "stream", size)[1] / 1e6)
        before, peak = _ask(stage, "send", kept)
        receipts.append((peak - before) / kept)
    low, high = (Sample.of(found) for found in peaks.values())
    growth = Sample.of(more - less for less, more in zip(*peaks.values(), strict=True))
    return [
        Row(name=f"stream_many, {few:,}, peak", unit="MB", hardened=low),
        Row(name=f"stream_many, {many:,}, peak", unit="MB", hardened=high),
        Row(name=f"stream_many, {many:,} over {few:,}", unit="MB", hardened=growth, target=Target.at_most(_MOST_MB)),
        Row(name=f"send_many, {kept:,}, per receipt", unit="bytes", hardened=Sample.of(receipts)),
    ]


def _ask(stage: Stage, way: str, messages: int) -> tuple[float, float]:
    with stage.redis() as server, stage.child("benchmarks.memory:Streamer", server) as child:
        before, peak = child.ask(timeout_s=_PATIENCE_S, way=way, messages=messages)
    return before, peak
