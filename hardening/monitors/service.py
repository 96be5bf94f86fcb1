"""Looking after monitors in a process that need not have any: a worker."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from hardening.core import telemetry
from hardening.monitors.notices import Notices
from hardening.monitors.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

__all__ = ["MonitorService"]

#: How often there is a look, in seconds.
_INTERVAL_S = 0.5


class MonitorService:
    """Runs a sweeper in a daemon thread while there are monitors, so that there is somebody when their owners are dead.

    Guarantees: :meth:`start` and :meth:`stop` may be called any number of times. While nobody has monitors, Redis is
    not asked.

    Events: ``hardening.chore.failed``; those of :class:`Sweeper` and :class:`Notices`.

    Args:
        app: over whose broker.
        name: of this process, unlike any other's.
        are_monitors: whether anybody has monitors, as far as is known here; asked at each look.
    """

    def __init__(self, app: Celery, *, name: str, are_monitors: Callable[[], bool]) -> None:
        self._name = name
        self._are_monitors = are_monitors
        self._sweeper = Sweeper(app, name)
        self._notices = Notices(app)
        self._mutex = threading.Lock()
        self._over: threading.Event | None = None

    def start(self) -> None:
        """Begins to look."""
        with self._mutex:
            if self._over is None:
                self._over = threading.Event()
                threading.Thread(
                    target=self._run, args=(self._over,), name="hardening-monitors-service", daemon=True
                ).start()

    def stop(self) -> None:
        """Ends it after the look that is under way; that is not waited for."""
        with self._mutex:
            over, self._over = self._over, None
        if over is not None:
            over.set()

    def _run(self, over: threading.Event) -> None:
        while not over.wait(_INTERVAL_S):
            try:
                if self._are_monitors() and self._sweeper.run_once().owed:
                    self._notices.run_once()
            except (RedisError, OSError):
                self._sweeper.lost_sight()
            except Exception as error:  # noqa: BLE001 - the edge: one bad monitor must not end it all
                telemetry.emit(telemetry.ChoreFailed(consumer=self._name, error=repr(error)))
