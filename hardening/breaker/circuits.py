"""The breakers of one app in one process, their way to Redis, and the thread that reports.

The thread is a daemon's, starts with the first call behind a breaker, and sleeps without a timeout while no calls are
made: a process that uses no breaker pays nothing, and one that is idle sends nothing. While calls are made it reports
each breaker ten times a second, and within milliseconds after a failure.

When Redis cannot be asked within a quarter of a second, all breakers of the process go on alone, at once, and only the
thread goes on asking, once a second.

Events: ``hardening.circuit.isolated``, ``.rejoined``; ``hardening.chore.failed``.
"""

from __future__ import annotations

import atexit
import os
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from hardening.breaker.circuit import Circuit
from hardening.breaker.declared import declared_rule
from hardening.breaker.events import CircuitsIsolated, CircuitsRejoined
from hardening.breaker.rule import rule_of
from hardening.core import telemetry
from hardening.core.deployment import client_of, forget_clients, settings_of
from hardening.core.scripts.breaking import Seen

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.scripts import Call

__all__ = ["Circuits", "circuits_of"]

#: How long a question to Redis may take, in seconds.
_PATIENCE_S = 0.25
#: How often to report while calls are made, and how long failures may gather for one report, in seconds.
_PERIOD_S = 0.1
_GATHER_S = 0.005
#: How often to ask whether Redis is back, in seconds.
_REJOIN_S = 1.0
_AWAY = (RedisError, OperationalError, OSError)
_ATTRIBUTE = "_hardening_circuits"

_mutex = threading.Lock()
_all: weakref.WeakSet[Circuits] = weakref.WeakSet()


class Circuits:
    """All breakers of an app, for any thread of the process; a forked child begins anew.

    Args:
        app: a hardened app.

    Attributes:
        who: this process, as others read it.
        is_isolated: whether Redis is away, as far as this process knows.
        is_asleep: whether nothing is reported before somebody says so.
    """

    def __init__(self, app: Celery) -> None:
        self._app = weakref.ref(app)
        self._settings = settings_of(app)
        self.keys = self._settings.keys
        self._circuits: dict[str, Circuit] = {}
        self._is_stopped = False
        self.renew()
        _all.add(self)
        weakref.finalize(app, self.stop).atexit = False

    def renew(self) -> None:
        """Begins anew in a forked child: with no thread, and with locks that nobody holds."""
        self.who = f"{socket.gethostname()}:{os.getpid()}"
        self.is_isolated = False
        self._away_since_s = 0.0
        self._untold: CircuitsIsolated | None = None  # whoever finds that Redis is away holds a circuit's lock
        self._mutex = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_asleep = True
        for circuit in self._circuits.values():
            circuit.renew()

    def get(self, name: str) -> Circuit:
        """The breaker of a name.

        Raises:
            ConfigError: its rule makes no sense.
        """
        circuit = self._circuits.get(name)
        if circuit is None:
            rule = rule_of(name, declared_rule(name, self._app()), self._settings.breakers)
            with self._mutex:
                circuit = self._circuits.setdefault(name, Circuit(name, rule, self))
        return circuit

    # -- the way to Redis

    def ask(self, call: Call) -> Seen | None:
        """Runs a call, unless Redis is away: never for longer than a quarter of a second to connect and to answer.

        Returns:
            What Redis said; None: it is away, and everyone is on their own.
        """
        app = self._app()
        if self.is_isolated or app is None:
            return None
        try:
            return Seen.parse(call.run(client_of(app, patience_s=_PATIENCE_S)))
        except _AWAY as error:
            self._isolate(app, error)
            return None

    def _isolate(self, app: Celery, error: Exception) -> None:
        with self._mutex:
            if self.is_isolated:
                return
            self.is_isolated, self._away_since_s = True, time.monotonic()
            circuits = list(self._circuits.values())
        for circuit in circuits:
            circuit.isolate()
        forget_clients(app)
        self._untold = CircuitsIsolated(breakers=len(circuits), error=f"{type(error).__name__}: {error}")
        self.rouse(urgently=False)

    def tell(self) -> None:
        """Tells that Redis is away, if that is news; for whoever has asked, and holds no lock any more."""
        untold, self._untold = self._untold, None
        if untold is not None:
            telemetry.emit(untold)

    def _rejoin(self) -> None:
        app = self._app()
        if app is None:
            return
        try:
            client_of(app, patience_s=_PATIENCE_S).ping()
        except _AWAY:
            forget_clients(app)
            return
        with self._mutex:
            self.is_isolated = False
            away_s, circuits = time.monotonic() - self._away_since_s, list(self._circuits.values())
        for circuit in circuits:
            circuit.rejoin()
        telemetry.emit(CircuitsRejoined(breakers=len(circuits), away_s=away_s))

    # -- the thread

    def rouse(self, *, urgently: bool) -> None:
        """Has what was counted reported within a tenth of a second, or at once."""
        if urgently or self.is_asleep:
            self.is_asleep = False
            self._wake.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._mutex:
            if self._thread is None:
                thread = threading.Thread(target=self.run, name="hardening-breakers", daemon=True)
                try:
                    thread.start()
                    self._thread = thread
                except RuntimeError:  # none to be had: the next call tries again, or what is left is reported at exit
                    self.is_asleep = True

    def run_once(self) -> bool:
        """Reports what was counted; or asks whether Redis is back.

        Returns:
            Whether there will be more to do soon.
        """
        if self.is_isolated:
            self._rejoin()
            return True
        now_s = time.monotonic()
        circuits = list(self._circuits.values())
        for circuit in circuits:
            circuit.sync(now_s=now_s)
        return self.is_isolated or any(circuit.is_used(time.monotonic()) for circuit in circuits)

    def pause(self, *, is_busy: bool) -> None:
        """Waits until there is something to do."""
        if not is_busy:
            self.is_asleep = True
            if any(circuit.is_used(time.monotonic()) for circuit in list(self._circuits.values())):
                self.is_asleep = False  # counted just before we fell asleep
        if not self._wake.wait(None if self.is_asleep else _REJOIN_S if self.is_isolated else _PERIOD_S):
            return
        threading.Event().wait(_GATHER_S)
        self._wake.clear()

    def stop(self) -> None:
        """Ends the thread."""
        self._is_stopped = True
        self._wake.set()

    def run(self) -> None:
        """What the thread does."""
        while not self._is_stopped:
            try:
                is_busy = self.run_once()
            except Exception as error:  # noqa: BLE001 - the edge: one breaker that cannot be read must not end all others
                telemetry.emit(telemetry.ChoreFailed(consumer=self.who, error=repr(error)))
                is_busy = False
            self.pause(is_busy=is_busy)


def circuits_of(app: Celery) -> Circuits:
    """The breakers of an app.

    Raises:
        ConfigError: the app is not hardened.
    """
    circuits: Circuits | None = vars(app).get(_ATTRIBUTE)
    if circuits is None:
        with _mutex:
            circuits = vars(app).setdefault(_ATTRIBUTE, Circuits(app))
    return circuits


def _renew_all() -> None:
    global _mutex  # noqa: PLW0603
    _mutex = threading.Lock()
    for circuits in list(_all):
        circuits.renew()


def _report_at_exit() -> None:
    for circuits in list(_all):
        if not circuits.is_isolated:
            circuits.run_once()


os.register_at_fork(after_in_child=_renew_all)
atexit.register(_report_at_exit)
