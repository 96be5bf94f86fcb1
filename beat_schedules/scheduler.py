"""The scheduler that ``celery beat -S beat_schedules.scheduler:HardenedScheduler`` runs, or ``-S hardening``."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery.beat import Scheduler
from redis.exceptions import RedisError

from beat_schedules import events
from beat_schedules.leader import Leader
from hardening.core import telemetry
from hardening.core.deployment import client_of, forget_clients, settings_of

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["HardenedScheduler"]

#: How soon to tick again when Redis is away, or a tick failed, in seconds: the first time, and at most.
_PAUSE_S, _MOST_PAUSE_S = 0.1, 1.0
#: The events that beat's log tells.
_LOGGED = ("beat", "slot", "entry", "schedules", "schedule_file")


class HardenedScheduler(Scheduler):
    """Beat of which any number may run: one leads, the others stand by; see :mod:`beat_schedules.leader`.

    Runs in beat's main thread. Nothing that happens to Redis, or to an entry, ends it.

    Args:
        app: a hardened one.
        max_interval: the longest between two ticks, in seconds, where that is less than the lease asks for.
        lazy: only to be asked what it is; does no I/O.
        **kwargs: Celery's, of which the schedule's file has no meaning here.

    Raises:
        ConfigError: the app is not hardened.
    """

    max_interval = 1

    def __init__(self, app: Celery, *, max_interval: Any = None, lazy: bool = False, **kwargs: Any) -> None:
        kwargs.pop("schedule_filename", None)
        self._settings = settings_of(app)
        self._leader: Leader | None = None
        self._is_ticking = False
        self._pause_s = _PAUSE_S
        self._logs: list[telemetry.Subscription] = []
        super().__init__(app, max_interval=max_interval, lazy=lazy, **kwargs)

    def setup_schedule(self) -> None:
        """Has beat's log say what happens. Nothing is read before the first tick: Redis may be away."""
        self._leader = Leader(self.app)
        redact = self._settings.redact
        self._logs = [telemetry.log_events(f"hardening.{noun}", self.logger, redact=redact) for noun in _LOGGED]

    @property
    def info(self) -> str:
        """For beat's banner."""
        settings = self._settings
        return f"    . deployment -> {settings.prefix}\n    . lease -> {settings.beat_lease_s:g}s"

    def tick(self, *_: Any, **__: Any) -> float:
        """One tick, and the wait after it, which a change to the schedules ends.

        Returns:
            How long Celery's loop is to sleep, in seconds: only while Redis is away.
        """
        leader = self._leader
        if leader is None:
            return _MOST_PAUSE_S
        self._is_ticking = True
        try:
            report = leader.run_once()
            self._wait(leader.bell, min(report.wait_s, self.max_interval))
            self._pause_s = _PAUSE_S
        except (RedisError, OSError) as error:
            leader.stand_by(f"{type(error).__name__}: {error}")
            forget_clients(self.app)
            return self._pause()
        except Exception as error:  # noqa: BLE001 - the edge: what leaves a tick ends beat
            telemetry.emit(events.BeatFailed(beat=leader.name, error=repr(error)))
            return self._pause()
        finally:
            self._is_ticking = False
        return 0.0

    def close(self) -> None:
        """Resigns. Celery calls it in its signal handler, perhaps in the middle of a tick, and again after that."""
        if self._leader is not None and not self._is_ticking:
            with suppress(RedisError, OSError):
                self._leader.resign()
            while self._logs:
                telemetry.detach(self._logs.pop())
        super().close()

    def _wait(self, bell: str, wait_s: float) -> None:
        """Waits, as a client of Redis that is woken by its bell."""
        wait_s = min(wait_s, self._settings.socket_timeout_s / 2)
        if wait_s >= 0.001:  # noqa: PLR2004 - less is none to Redis, which would wait for ever
            client: Any = client_of(self.app)
            client.blpop([bell], timeout=wait_s)

    def _pause(self) -> float:
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, _MOST_PAUSE_S)
        return pause_s
