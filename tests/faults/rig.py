"""Real worker processes, real signals, and what must be true when the dust has settled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery

from hardening import harden
from hardening.core.deployment import client_of, settings_of
from hardening.core.ledger import Ledger, read_ledger
from tests.closing import close
from tests.eventually import eventually
from tests.faults.broker_options import broker_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

__all__ = ["LEASE_S", "PREFETCH", "Rig", "Worker"]

#: Lease of every worker here, in seconds.
LEASE_S = 2.0
#: How many messages a worker holds for each task it can run, if it is not told otherwise.
PREFETCH = 4
_ROOT = Path(__file__).parents[2]


@dataclass
class Worker:
    """One worker process, in a process group of its own."""

    process: subprocess.Popen[bytes]
    log: Path
    concurrency: int

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the parent process alone."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL for the parent and its whole pool: the machine is gone."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def children(self) -> list[int]:
        """The pool's processes."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 30.0) -> None:
        """Asks it to stop and waits until it has."""
        self.process.send_signal(number)
        self.process.wait(timeout_s)


@dataclass
class Rig:
    """One fault test: a broker, a ledger, a producer, and workers.

    Attributes:
        broker: URL for Celery; workers may be given another, such as a proxy's.
        ledger: client of the second Redis.
        ledger_url: the same for the workers.
        prefix: of this test.
        logs: where worker logs go.
        authority: a file; where set, the broker and its Sentinels speak TLS, and are trusted for being signed by it.
    """

    broker: str
    ledger: Redis
    ledger_url: str
    prefix: str
    logs: Path
    authority: str = ""
    workers: list[Worker] = field(default_factory=list)
    kills: int = 0

    @property
    def queue(self) -> str:
        """The test's queue."""
        return f"q.{self.prefix}"

    def producer(self, broker: str | None = None) -> Celery:
        """A hardened app that sends."""
        app = Celery(f"producer-{self.prefix}", broker=broker or self.broker, set_as_current=False)
        app.conf.update(task_default_queue=self.queue, hardening_prefix=self.prefix, task_ignore_result=True)
        app.conf.update(broker_options(self.authority))
        return harden(app)

    def stock_producer(self) -> Celery:
        """A plain Celery app that sends."""
        app = Celery(f"stock-{self.prefix}", broker=self.broker, set_as_current=False)
        app.conf.update(task_default_queue=self.queue, task_ignore_result=True)
        return app

    def start(
        self,
        pool: str = "prefork",
        concurrency: int = 2,
        *,
        broker: str | None = None,
        stock: bool = False,
        tasks: str = "tests.faults.tasks",
        queues: Sequence[str] = (),
        **env: str,
    ) -> Worker:
        """Starts a worker for the app of a module of tasks; it is ready some time later."""
        number = len(self.workers)
        log = self.logs / f"worker-{number}.log"
        environment = {
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "TMPDIR": str(self.logs),
            "FAULTS_BROKER": broker or self.broker,
            "FAULTS_CLOCK": self.broker,
            "FAULTS_LEDGER": self.ledger_url,
            "FAULTS_PREFIX": self.prefix,
            "FAULTS_QUEUE": self.queue,
            "FAULTS_LEASE_S": str(LEASE_S),
            "FAULTS_PREFETCH": str(PREFETCH),
            "FAULTS_AUTHORITY": self.authority,
            "FAULTS_POOL_IS_PROCESS": "1" if pool == "prefork" else "0",
            **({"FAULTS_STOCK": "1"} if stock else {}),
            **{name.upper(): value for name, value in env.items()},
        }
        command = [
            sys.executable, "-W", "ignore", "-m", "celery", "-A", tasks, "worker",
            "-P", pool, "-c", str(concurrency), "-n", f"{self.prefix}-{number}@test", "-l", "INFO",
            "--without-gossip", "--without-mingle", *(["-Q", ",".join(queues)] if queues else []),
        ]  # fmt: skip
        with log.open("wb") as sink:
            process = subprocess.Popen(
                command, stdout=sink, stderr=sink, env=environment, cwd=_ROOT, start_new_session=True
            )
        worker = Worker(process, log, 1 if pool == "solo" else concurrency)
        self.workers.append(worker)
        return worker

    def ready(self, worker: Worker) -> Worker:
        """Waits until a worker consumes."""
        eventually(lambda: b" ready." in worker.log.read_bytes(), 30)
        return worker

    def kill(self, worker: Worker) -> None:
        """SIGKILLs a worker and counts it."""
        self.kills += 1
        worker.kill()

    def send(self, app: Celery, task: str, keys: list[str], *args: object, **options: Any) -> None:
        """Sends a task once for each key."""
        for key in keys:
            app.send_task(f"tests.faults.tasks.{task}", (key, *args), **options)

    # -- what the ledger says

    def count(self, event: str) -> Counter[str]:
        """How often each key had an event."""
        stored: dict[Any, Any] = self.ledger.hgetall(f"{self.prefix}:{event}")
        return Counter({key.decode(): int(value) for key, value in stored.items()})

    def done(self) -> int:
        """How many different keys are done."""
        return int(self.ledger.hlen(f"{self.prefix}:done"))

    def await_progress(self, done: int, timeout_s: float = 30.0) -> None:
        """Waits until so many keys are done."""
        eventually(lambda: self.done() >= done, timeout_s)

    def await_done(self, keys: list[str], timeout_s: float = 60.0) -> None:
        """Waits until every key is done; says what is missing."""
        try:
            eventually(lambda: self.done() >= len(keys), timeout_s)
        except AssertionError as error:
            missing = sorted(set(keys) - set(self.count("done")))
            told = f"{len(missing)} of {len(keys)} never ran: {missing[:10]}; {self.read()}"
            raise AssertionError(told) from error

    def duplicates(self) -> int:
        """How many runs there were beyond the first of each key."""
        began = self.count("began")
        return sum(began.values()) - len(began)

    # -- what the broker says

    def read(self) -> Ledger:
        """The conservation law, now."""
        app = self.producer()
        try:
            return read_ledger(client_of(app), settings_of(app).keys)
        finally:
            close(app)

    def settled(self, timeout_s: float = 15.0) -> Ledger:
        """Waits until nothing is queued, scheduled or in flight, and returns the balanced ledger."""

        def empty() -> bool:
            ledger = self.read()
            return not (ledger.queued or ledger.scheduled or ledger.inflight)

        eventually(empty, timeout_s)
        ledger = self.read()
        assert ledger.is_balanced, ledger
        return ledger

    def stop(self) -> None:
        """Ends every worker: politely, then not."""
        running = [worker for worker in self.workers if worker.process.poll() is None]
        for worker in running:
            worker.send(signal.SIGCONT)
            worker.send(signal.SIGTERM)
        for worker in running:
            try:
                worker.process.wait(2)
            except subprocess.TimeoutExpired:
                worker.kill()

    def stays(self, predicate: Callable[[], object], seconds: float) -> bool:
        """Whether something stays true all along; watches it for so many seconds."""
        try:
            eventually(lambda: not predicate(), seconds)
        except AssertionError:
            return True
        return False

    def seconds_until(self, predicate: Callable[[], object], timeout_s: float) -> float:
        """How long it took until something became true."""
        begin = time.monotonic()
        eventually(predicate, timeout_s)
        return time.monotonic() - begin
