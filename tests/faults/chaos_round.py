"""One round of the long fault test, from an empty Redis to its outcome."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlq import DeadLetters
from hardening.core.embedded import EmbeddedRedis
from hardening.core.keys import Keys
from hardening.core.ledger import Ledger, read_ledger
from tests.faults.chaos_faults import Injector, mark_disturbed
from tests.faults.chaos_fleet import Fleet
from tests.faults.chaos_load import Load
from tests.faults.chaos_plan import Kind
from tests.faults.chaos_report import Outcome
from tests.faults.chaos_verdict import Dead, Fault, Run, judge, ran_early, read_runs, tell_duplicates
from tests.faults.chaos_watch import Watch
from tests.faults.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from celery import Celery

    from tests.faults.chaos_fleet import Post
    from tests.faults.chaos_plan import RoundPlan
    from tests.faults.chaos_verdict import Sent

__all__ = ["PREFIX", "Round"]

PREFIX = "chaos"
#: Messages a second, for each task that the fleet can run at once.
_PER_SLOT = 12.0
#: How long nothing at all may move before the rest counts as stuck, in seconds.
_STILL_S = 25.0
#: How long all of the draining may take, in seconds.
_DRAIN_S = 180.0


class Round:
    """Everything a round needs, for as long as it lasts.

    Args:
        plan: what to do.
        on_fault: told of each fault.

    Attributes:
        directory: logs and data; :meth:`forget` removes it.
    """

    stock = False

    def __init__(self, plan: RoundPlan, on_fault: Callable[[Fault], None]) -> None:
        self._plan = plan
        self._on_fault = on_fault
        self._keys = Keys(PREFIX)
        self._faults: list[Fault] = []
        self._findings: list[str] = []
        self._undo = ExitStack()
        self._begin_s = time.monotonic()
        self.directory = Path(tempfile.mkdtemp(prefix=f"chaos-{plan.number}-"))

    def __enter__(self) -> Self:
        """Starts both Redis and the workers."""
        with ExitStack() as undo:
            self._start_servers(undo)
            self._start_workers(undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends every process."""
        self._undo.close()

    @property
    def faults(self) -> list[dict[str, Any]]:
        """What has happened so far, as the report has it."""
        return [{**asdict(fault), "bound": fault.bound} for fault in self._faults]

    def forget(self) -> None:
        """Removes logs and data, when nobody needs to look into them."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start_servers(self, undo: ExitStack) -> None:
        data = self.directory / "aof" if self._plan.aof else None
        if data is not None:
            data.mkdir()
        # What Redis has answered must be on its disk: what it forgets when it is killed is not ours to keep.
        config = {"appendfsync": "always"}
        self._broker = undo.enter_context(EmbeddedRedis(port=0, directory=data, config=config))
        ledger_server = undo.enter_context(EmbeddedRedis(port=0))
        self._client = undo.enter_context(self._broker.client(socket_timeout=2.0))
        ledger = undo.enter_context(ledger_server.client())
        self._rig = Rig(self._broker.broker_url, ledger, ledger_server.url, PREFIX, self.directory)

    def _start_workers(self, undo: ExitStack) -> None:
        plan = self._plan
        app = self._producer()
        undo.callback(app.close)
        self._fleet = Fleet(self._rig, plan.crews, stock=self.stock, on_death=self._died)
        undo.callback(self._fleet.close)
        per_s = _PER_SLOT * sum(crew.concurrency for crew in plan.crews)
        self._load = Load(
            app, self._rig.queue, seed=plan.seed, per_s=per_s, poison=plan.poison, stock=self.stock
        )  # fmt: skip
        undo.callback(self._load.stop)
        self._watch = Watch(
            undo.enter_context(self._broker.client(socket_timeout=2.0)), self._keys,
            crew_of=self._fleet.crew_of, faults=self._faults, on_lapse=self._on_fault,
        )  # fmt: skip
        undo.callback(self._watch.stop)
        self._injector = Injector(self._fleet, self._broker, self._watch, self._faults, self._on_fault)

    def _producer(self) -> Celery:
        return self._rig.producer()

    def _died(self, post: Post) -> None:
        """A worker ended by itself: of poison, or of something that must be looked into."""
        now_s = time.monotonic()
        poison = {message.key for message in self._load.sent if message.is_poison}
        took_it = any(
            run.worker == post.pid and run.ended_s is None and run.key in poison for run in self._runs()
        )  # fmt: skip
        fault = Fault(
            Kind.POISON if took_it else Kind.CRASH, now_s, now_s, str(post), post.pid, post.crew.concurrency,
            note=f"exit code {post.worker.process.returncode}",
        )  # fmt: skip
        self._watch.await_recovery(fault, post.pid)
        self._faults.append(fault)
        if not took_it:
            doing = post.trial.kind if post.trial else "nothing was done to it"
            self._findings.append(f"{post} pid {post.pid} died, {fault.note}; {doing}; log {post.worker.log}")
        self._on_fault(fault)

    def run(self) -> Outcome:
        """Does all that is planned, waits until the dust has settled, and judges."""
        self._injector.until_all_are_well()
        self._load.start()
        self._watch.start()
        for planned in self._plan.faults:
            self._injector.apply(planned)
        self._load.stop()
        self._injector.until_all_are_well()
        self._drain()
        self._hear_all()
        self._fleet.retire()
        self._watch.stop()
        return self._judge()

    # -- what the two Redis say

    def _runs(self) -> list[Run]:
        stored: Any = self._rig.ledger.lrange(f"{PREFIX}:runs", 0, -1)
        return read_runs(stored)

    def _dead(self) -> list[Dead]:
        letters = DeadLetters(self._client, self._keys, receipt_ttl_ms=1000)
        return [Dead(entry.task_id, entry.reason, entry.crashes) for entry in letters.select()]

    def _ledger(self) -> Ledger:
        return read_ledger(self._client, self._keys)

    # -- afterwards

    def _await_stillness(
        self, is_over: Callable[[], bool], progress: Callable[[], object], still_s: float = _STILL_S
    ) -> bool:
        """Waits until something is over, or nothing has moved for a while. Returns whether it is over."""
        last, moved_s, end_s = progress(), time.monotonic(), time.monotonic() + _DRAIN_S

        def done() -> bool:
            nonlocal last, moved_s
            now_s = time.monotonic()
            if (state := progress()) != last:
                last, moved_s = state, now_s
            return is_over() or now_s > min(end_s, moved_s + still_s)

        self._injector.until(done, _DRAIN_S + 30)
        return is_over()

    def _drain(self) -> None:
        """Waits until all is settled."""

        def is_over() -> bool:
            ledger = self._ledger()
            return not (ledger.queued or ledger.scheduled or ledger.inflight or self._watch.recovering)

        if not self._await_stillness(is_over, self._ledger):
            self._findings.append(f"stuck, recovering {self._watch.recovering}: {self._ledger()}")

    def _hear_all(self) -> None:
        """Every worker must still be taking: sends until each has run something new."""
        since_s = time.monotonic()
        pids = {post.pid for post in self._fleet.posts}

        def unheard() -> set[int]:
            return pids - {run.worker for run in self._runs() if run.began_s > since_s}

        def heard() -> bool:
            if not unheard():
                return True
            if self._ledger().queued < 5:
                for _ in range(20):
                    self._load.send("run", 0.05)
            return time.monotonic() > since_s + _STILL_S

        self._injector.until(heard, _STILL_S + 30)
        self._findings += [f"worker {pid} takes nothing any more" for pid in unheard()]
        self._drain()

    def _judge(self) -> Outcome:
        sent, runs, dead, ledger = self._load.sent, self._runs(), self._dead(), self._ledger()
        mark_disturbed(self._faults)
        duplicates = tell_duplicates(sent, runs, self._faults)
        self._keep_evidence(sent, runs)
        left = [*self._watch.names(self._keys.leases), *self._watch.names(self._keys.dead)]
        findings = [
            *self._findings, *self._fleet.oddities, *self._untrue_receipts({letter.key for letter in dead}),
            *(f"{key} ran too early" for key in ran_early(sent, runs)),
            *(f"begun on waking: {told}" for told in duplicates.on_waking),
            *(f"{name} still has a lease, or is still dead, though all have left" for name in left),
        ]  # fmt: skip
        return Outcome(
            number=self._plan.number, aof=self._plan.aof, crews=[str(crew) for crew in self._plan.crews],
            sent=len(sent), refused=sum(not message.accepted for message in sent), dead=len(dead),
            bystanders=sum(letter.reason == "crashed" for letter in dead)
            - sum(message.is_poison and message.accepted for message in sent),
            wrong=judge(sent, runs, dead), duplicates=duplicates.total, resent=duplicates.resent,
            over_bound=duplicates.unexplained, is_balanced=ledger.is_balanced,
            inflight=ledger.inflight, imbalances=self._watch.imbalances, readings=self._watch.readings,
            findings=findings, faults=self.faults, counters=ledger.counters,
            seconds=time.monotonic() - self._begin_s,
        )  # fmt: skip

    def _keep_evidence(self, sent: list[Sent], runs: list[Run]) -> None:
        """For whoever has to find out what happened."""
        kept = {"sent": [asdict(one) for one in sent], "runs": [asdict(one) for one in runs], "faults": self.faults}
        (self.directory / "evidence.json").write_text(json.dumps(kept))

    def _untrue_receipts(self, dead: set[str]) -> list[str]:
        """Receipts that do not say what became of their message."""
        said = {key: receipt.status() for key, receipt in self._load.receipts.items()}
        return [
            f"receipt of {key} says {status}"
            for key, status in said.items()
            if status != ("dead" if key in dead else "acked")
        ]
