"""One run: send everything, break everything, repair, and count."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from redis.exceptions import RedisError

from examples.webhooks.app import make_app
from examples.webhooks.broker import HardenedBroker
from examples.webhooks.endpoint import Endpoint
from examples.webhooks.fleet import CONCURRENCY, Fleet, Worker
from examples.webhooks.recoveries import Recoveries
from examples.webhooks.report import Report
from examples.webhooks.sender import Sender
from examples.webhooks.stock_broker import StockBroker
from examples.webhooks.trouble import Mood, Trouble
from hardening.core.deployment import settings_of
from hardening.core.embedded import EmbeddedRedis

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from examples.webhooks.broker import Broker, Counts
    from examples.webhooks.events import Event
    from examples.webhooks.screen import Screen

__all__ = ["Drill", "DrillError", "Schedule"]

_TICK_S = 0.1
#: How long workers may take to start, in seconds.
_START_S = 60.0
#: How long nothing may happen before a run is taken for stuck, in seconds.
_STILL_S = {False: 30.0, True: 10.0}
#: What recovery takes at most beyond the lease, in seconds.
_SWEEP_S = 2.0


class DrillError(Exception):
    """The run cannot go on; says why in one line."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the drill breaks, and when, as shares of the events that the endpoint has received.

    Attributes:
        kills: when a worker is killed, in turn.
        cut: when the broker's connections are cut.
    """

    kills: Sequence[float] = (0.15, 0.35, 0.55)
    cut: float = 0.08  # before the first kill, so that all workers are there


class Drill:
    """One run. A context that starts everything and leaves nothing running.

    Args:
        events: what to deliver.
        directory: for logs and the endpoint's ledger.
        screen: where to tell how it goes.
        stock: on plain Celery.
        seed: of everything random.
        schedule: what to break, and when.
    """

    def __init__(
        self, events: Sequence[Event], directory: Path, screen: Screen, *, stock: bool, seed: int, schedule: Schedule
    ) -> None:
        self._events = events
        self._directory = directory
        self._screen = screen
        self._stock = stock
        self._trouble = Trouble.choose([event.id for event in events], seed=seed)
        self._kills_due = [round(share * len(events)) for share in schedule.kills]
        self._cut_due: int | None = round(schedule.cut * len(events))
        self._undo = ExitStack()
        self._pause = threading.Event()  # never set: it only waits
        self._kills = self._crashes = self._exits = self._cut = 0
        self._received = 0

    def __enter__(self) -> Self:
        """Starts Redis, the endpoint and the workers.

        Raises:
            DrillError, EndpointError, HardeningError: something did not start.
        """
        with ExitStack() as undo:
            self._redis = undo.enter_context(EmbeddedRedis(port=0))
            self._client = undo.enter_context(self._redis.client(socket_timeout=10.0))
            self._endpoint = undo.enter_context(Endpoint(self._directory, self._trouble))
            app = make_app(self._redis.broker_url, stock=self._stock)
            self._limit_s = None if self._stock else settings_of(app).lease_ttl_s + _SWEEP_S
            self._broker: Broker = (StockBroker if self._stock else HardenedBroker)(app, self._client)
            self._recoveries = Recoveries(self._broker.held_by)
            self._consumers: dict[int, str] = {}
            self._fleet = Fleet(
                self._directory, broker_url=self._redis.broker_url, endpoint_url=self._endpoint.url, stock=self._stock
            )
            undo.callback(self._fleet.kill)
            self._fleet.start()
            self._sender = Sender(self._events, self._broker.send)
            undo.callback(self._sender.stop)
            self._await_workers()
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Kills everything."""
        self._undo.close()

    def _await_workers(self) -> None:
        until_s = time.monotonic() + _START_S
        while not self._fleet.is_ready:
            if self._fleet.mend() or time.monotonic() > until_s:
                raise DrillError("a worker did not start")
            self._pause.wait(_TICK_S)

    def run(self) -> Report:
        """Runs it.

        Raises:
            DrillError, EndpointError: the run cannot go on.
        """
        self._screen.tell(f"Redis, the endpoint and {len(self._fleet.workers)} workers are up; sending")
        self._warn()
        self._sender.start()
        self._until_settled()
        dead = self._broker.dead()
        self._endpoint.fix()
        replayed = self._broker.replay()
        fixed = "no dead letters to replay" if self._stock else f"{replayed} dead letters replayed"
        self._screen.tell(f"the endpoint is fixed; {fixed}")
        counts = self._until_settled()
        self._fleet.kill()
        return self._report(counts, dead, replayed)

    def _warn(self) -> None:
        refused, poison, worker = (
            len(self._trouble.of(mood)) for mood in (Mood.REFUSE, Mood.POISON, Mood.POISON_WORKER)
        )
        self._screen.tell(f"to come: kills: {len(self._kills_due)}, cuts: 1; events that always fail: {refused},")
        self._screen.tell(f"that kill their process: {poison}, that kill their whole worker: {worker}")

    # -- the loop

    def _until_settled(self) -> Counts:
        """Goes on until there is nothing left to do, or nothing happens any more."""
        still_since_s, last = time.monotonic(), None
        while True:
            counts = self._tick()
            if self._sender.is_done and counts.is_settled and not self._recoveries.pending:
                return counts
            moved = (self._sender.sent, self._received, counts.buried)
            if moved != last:
                still_since_s, last = time.monotonic(), moved
            elif time.monotonic() - still_since_s > _STILL_S[self._stock]:
                self._screen.tell("nothing happens any more")
                return counts
            self._pause.wait(_TICK_S)

    def _tick(self) -> Counts:
        try:
            counts = self._broker.counts()
            self._consumers.update(self._broker.consumers())
            self._recoveries.poll()
        except RedisError as error:
            raise DrillError(f"the broker does not answer: {error}") from error
        self._received, _ = self._endpoint.state()
        for worker in self._fleet.mend():
            if worker.exit_code == -signal.SIGKILL:
                self._crashes += 1
                self._mourn(worker, f"{worker.name} died of poison")
            else:
                self._exits += 1
                self._mourn(worker, f"{worker.name} ended by itself, with {worker.exit_code}: see its log")
        self._break()
        self._screen.show(counts, sent=self._sender.sent, received=self._received, kills=self._kills + self._crashes)
        return counts

    # -- what is broken

    def _break(self) -> None:
        """Kills and cuts what is due, but only while all workers are at work."""
        if not self._fleet.is_ready:
            return
        if self._cut_due is not None and self._received >= self._cut_due:
            self._cut_due = None
            self._cut = int(self._client.client_kill_filter(_type="normal"))
            self._screen.tell(f"cut all {self._cut} connections to the broker")
        elif self._kills_due and self._received >= self._kills_due[0]:
            del self._kills_due[0]
            worker = self._fleet.workers[self._kills % len(self._fleet.workers)]
            self._kills += 1
            worker.kill()
            self._mourn(worker, f"killed {worker.name} and its {CONCURRENCY} processes")

    def _mourn(self, worker: Worker, text: str) -> None:
        self._screen.tell(text)
        if consumer := self._consumers.get(worker.pid):
            self._recoveries.watch(consumer)

    # -- what it came to

    def _report(self, counts: Counts, dead: dict[str, str], replayed: int) -> Report:
        times = self._endpoint.times()
        sent = {event.id for event in self._events[: self._sender.tried]} - set(self._sender.refused)
        stuck = {place: ids - times.keys() for place, ids in self._broker.leftovers().items()}
        lost = sent - times.keys() - set().union(*stuck.values())
        return Report(
            mode="stock" if self._stock else "hardened",
            seed=self._trouble.seed,
            sent=len(sent),
            refused=len(self._events) - len(sent),
            received=len(times),
            lost=len(lost),
            dropped=len(lost & self._trouble.of(Mood.REFUSE)),
            stuck={place: len(ids) for place, ids in stuck.items() if ids},
            duplicates=sum(len(each) - 1 for each in times.values()),
            duplicates_bound=(self._kills + self._crashes + self._exits) * CONCURRENCY,
            recovered=counts.recovered,
            dead=counts.buried,
            dead_by_reason=dict(Counter(dead.values())),
            bystanders=len(dead.keys() - self._trouble.bad.keys()),
            replayed=None if self._stock else replayed,
            slowest_recovery_s=self._recoveries.slowest_s,
            recovery_limit_s=self._limit_s,
            kills=self._kills,
            crashes=self._crashes,
            exits=self._exits,
            cut=self._cut,
            is_balanced=counts.is_balanced,
            duration_s=round(self._screen.elapsed_s, 1),
        )
