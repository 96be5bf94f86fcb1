"""A real ``celery worker``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from benchmarks.failure import MeasureFailed
from benchmarks.process import Process

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.side import Side

__all__ = ["Worker"]


class Worker:
    """One worker and its pool, killed when done with: nothing it holds is needed any more.

    Args:
        broker_url: of Redis.
        side: whether it is hardened.
        log: where it writes; beside it, a file says when it is ready.
        pool: as ``celery worker -P`` takes it.
        concurrency: as ``-c`` takes it.
        queues: as ``-Q`` takes them; default: the app's own.
    """

    def __init__(
        self, broker_url: str, side: Side, log: Path, *, pool: str, concurrency: int, queues: Sequence[str] = ()
    ) -> None:
        self._log = log
        self._ready = log.with_suffix(".ready")
        self._environ = {
            "BENCHMARKS_BROKER": broker_url, "BENCHMARKS_SIDE": side.value, "BENCHMARKS_READY": str(self._ready)
        }  # fmt: skip
        self._command = [
            sys.executable, "-m", "celery", "-A", "benchmarks.worker_app", "worker", "-P", pool, "-c", str(concurrency),
            "-l", "WARNING", "--without-mingle", "--without-gossip", *(["-Q", ",".join(queues)] if queues else []),
        ]  # fmt: skip
        self._process: Process | None = None

    def __enter__(self) -> Self:
        """Starts it; it is ready some time later."""
        self._process = Process(self._command, self._log, self._environ, talks=False)
        return self

    def __exit__(self, *_: object) -> None:
        """Kills it."""
        if self._process is not None:
            self._process.kill()

    @property
    def is_ready(self) -> bool:
        """Whether it consumes.

        Raises:
            MeasureFailed: it is dead.
        """
        self.check()
        return self._ready.exists()

    def check(self) -> None:
        """Makes sure that it lives.

        Raises:
            MeasureFailed: it does not.
        """
        if self._process is None or not self._process.is_alive:
            raise MeasureFailed(f"the worker died: {self._process.complaint if self._process else 'not started'}")
