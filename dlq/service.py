"""The keeper's thread."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from hardening.core import telemetry

if TYPE_CHECKING:
    from dlq.keeper import Keeper

__all__ = ["KeeperService"]

#: How often there is a look, in seconds: half as much to once and a half.
_INTERVAL_S = 2.0


class KeeperService:
    """Runs a keeper beside a worker's work, in a thread of its own, so that nothing it waits for holds anything up.

    Guarantees: :meth:`start` and :meth:`stop` may be called any number of times, from any thread.

    Does not guarantee: that a run ends at once when the service is stopped; it is left behind then.

    Events: ``hardening.chore.failed``; those of the keeper. While Redis is away it only waits: others tell.

    Args:
        keeper: what is run.
        name: for events.
        interval_s: how often, on average, in seconds.
    """

    def __init__(self, keeper: Keeper, *, name: str, interval_s: float = _INTERVAL_S) -> None:
        self._keeper = keeper
        self._name = name
        self._interval_s = interval_s
        self._mutex = threading.Lock()
        self._over: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to look."""
        with self._mutex:
            if self._thread is None:
                self._over = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._over,), name="hardening-keeper", daemon=True
                )
                self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Ends it after the run that is under way.

        Args:
            timeout_s: the longest to wait for that, in seconds.
        """
        with self._mutex:
            thread, self._thread = self._thread, None
            if self._over is not None:
                self._over.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._thread is not None

    def _run(self, over: threading.Event) -> None:
        while not over.wait(self._interval_s * random.uniform(0.5, 1.5)):  # noqa: S311 - spread, not secret
            try:
                self._keeper.run_once()
            except (RedisError, OSError):
                continue
            except Exception as error:  # noqa: BLE001 - the edge: one bad letter must not end all keeping
                telemetry.emit(telemetry.ChoreFailed(consumer=self._name, error=repr(error)))
