"""Three agents, the workers that host them, and what befalls those; kept from one history to the next."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlq.body import read_content
from dlq.queue import DeadLetters
from hardening import agent
from hardening.agents import AgentHalted, AskFailed
from hardening.core.agent_keys import mailbox_queue
from hardening.core.deployment import client_of, settings_of
from hardening.core.ledger import read_ledger
from tests.closing import close
from tests.eventually import eventually
from tests.faults.peer_model import OUTSIDE, PEERS, Said, peer_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardening.agents.ref import AgentRef
    from tests.faults.rig import Rig, Worker

__all__ = ["House"]

_LEASE_S = "1"
#: How long anything may take that must happen, in seconds.
_PATIENCE_S = 40.0
#: As many as there are agents: one that waits for another's answer keeps nobody from giving it.
_PLACES = len(PEERS)
_MOST_WORKERS = 3


class House:
    """The workers of one machine.

    Args:
        rig: for them; its prefix is what those of all lots begin with.
        pools: of which kinds they are, in turn.
        spared: how many neither :meth:`kill` nor :meth:`freeze` touches. A trap spares nobody.

    Attributes:
        count: what happened.
    """

    def __init__(self, rig: Rig, *, pools: Sequence[str] = ("prefork",), spared: int = 1) -> None:
        self._first = rig
        self._pools = pools
        self._spared = spared
        self._prefixes: list[str] = []
        self._numbers = itertools.count()
        self._is_clean = False
        self.count: Counter[str] = Counter()
        self._workers: list[Worker] = []

    def enter(self) -> None:
        """A history begins: with the workers of the last one, unless that went wrong, and agents that know nothing."""
        if not self._is_clean:
            self.end()
            self._prefixes.append(f"{self._first.prefix}{len(self._prefixes)}")
            self._rig = replace(self._first, prefix=self._prefixes[-1], workers=[])
            self._app = self._rig.producer()
            self._client: Any = client_of(self._app)
            self._keys = settings_of(self._app).keys
            for worker in [self._start(), self._start()]:
                self._rig.ready(worker)
        self._is_clean = False
        self.count["histories"] += 1
        self._first_number = next(self._numbers)
        for short in PEERS:
            name = peer_name(short, self._rig.prefix)
            self._client.delete(self._keys.agent(name), self._keys.journal(name))

    def end(self) -> None:
        """Ends all workers at once."""
        for worker in self._workers:
            worker.kill()
        if self._workers:
            self._workers.clear()
            close(self._app)

    # -- what becomes of workers

    def _start(self) -> Worker:
        queues = [mailbox_queue(peer_name(short, self._rig.prefix)) for short in PEERS]
        pool = self._pools[len(self._rig.workers) % len(self._pools)]
        worker = self._rig.start(
            pool, _PLACES, tasks="tests.faults.peer_tasks", queues=queues,
            faults_lease_s=_LEASE_S, faults_max_crashes="1000", faults_crash_delay_s="0", faults_poll_s="0.2",
        )  # fmt: skip
        self._workers.append(worker)
        return worker

    def start(self) -> None:
        """One more worker, if there are not too many; it is ready some time later."""
        if len(self._running()) < _MOST_WORKERS:
            self._start()

    def kill(self) -> None:
        """SIGKILL, to the one that runs most, if not too few are left."""
        running = self._running()
        if len(running) > self._spared:
            self.count["killed"] += 1
            self._busiest(running).kill()

    def freeze(self) -> None:
        """SIGSTOP, likewise."""
        running = self._running()
        if len(running) > self._spared:
            os.killpg(self._busiest(running).process.pid, signal.SIGSTOP)

    def thaw(self) -> list[Worker]:
        """SIGCONT, to all that are stopped; returns them."""
        frozen = [worker for worker in self._living() if _is_stopped(worker)]
        for worker in frozen:
            self.count["frozen"] += 1
            os.killpg(worker.process.pid, signal.SIGCONT)
        return frozen

    def mind(self) -> None:
        """Sees to it that somebody runs agents. Who was frozen does so again, but only without its lease."""
        if not self._living():
            self._start()
        elif not self._running() and not self._leased():
            self.thaw()

    def _busiest(self, running: list[Worker]) -> Worker:
        """The worker that holds the most mailboxes."""
        boxes = [self._keys.mailbox(self.ref(short).queue) for short in PEERS]
        held = Counter(self._pids([self._client.hget(box, "holder") or b"" for box in boxes]))
        return max(running, key=lambda worker: held[worker.process.pid])

    @property
    def kills(self) -> int:
        """How many processes were killed so far, by traps or from outside."""
        ledger: Any = self._first.ledger
        traps = (key for lot in self._prefixes for key in ledger.hkeys(f"{lot}:traps"))
        return self.count["killed"] + sum(not key.startswith(b"freeze") for key in traps)

    def _living(self) -> list[Worker]:
        self._workers = [worker for worker in self._workers if worker.process.poll() is None]
        return self._workers

    def _running(self) -> list[Worker]:
        return [worker for worker in self._living() if not _is_stopped(worker)]

    # -- what agents are told

    def number(self) -> int:
        """One that no message had before."""
        return next(self._numbers)

    def tell(self, said: Said, number: int) -> None:
        """Tells an agent."""
        self.count["told"] += 1
        self.ref(said.peer).tell(said.handler, OUTSIDE, number, said.to, trap=said.trap)

    def ask(self, peer: str, handler: str, *args: Any, **kwargs: Any) -> Any:
        """Asks an agent, and minds the workers meanwhile; an error is answered as the model has it."""
        answers: list[Any] = []

        def wait() -> None:
            try:
                answers.append(self.ref(peer).ask(handler, *args, timeout=2 * _PATIENCE_S, **kwargs))
            except AskFailed as failed:
                answers.append(f"{failed.error_type}: {failed.error.partition('refuses: ')[2] or failed.error}")
            except AgentHalted as halted:
                answers.append(halted.halt)

        def is_answered() -> bool:
            self.mind()
            return bool(answers)

        threading.Thread(target=wait, daemon=True).start()
        eventually(is_answered, _PATIENCE_S)
        return answers[0]

    def ask_outside(self, said: Said, number: int) -> Any:
        """The same, of what an agent may be told."""
        self.count["asked"] += 1
        return self.ask(said.peer, said.handler, OUTSIDE, number, said.to, trap=said.trap)

    def ref(self, peer: str) -> AgentRef:
        """One of the agents."""
        return agent(peer_name(peer, self._rig.prefix), app=self._app)

    # -- how it all is

    def committed(self, peer: str) -> dict[str, Any] | None:
        """What an agent remembered when its state was written whole last."""
        stored = self._client.hget(self._keys.agent(peer_name(peer, self._rig.prefix)), "state")
        return None if stored is None else dict(json.loads(stored))

    def held(self) -> Counter[bytes]:
        """How many messages of each mailbox are in flight, at one instant."""
        with self._client.pipeline() as pipeline:
            for key in self._client.scan_iter(f"{self._keys.prefix}:inflight:*"):
                pipeline.hvals(key)
            found = pipeline.execute()
        lists = (_list_of(entry) for entries in found for entry in entries)
        return Counter(lists)

    def buried(self) -> list[int]:
        """The numbers of the dead letters of this history."""
        entries = DeadLetters.of(self._app).select()
        numbers = [int(read_content(entry.raw).body[0][2]) for entry in entries]
        return sorted(number for number in numbers if number > self._first_number)

    def drain(self) -> dict[str, Any]:
        """Lets all that was told be done, by whoever lives; then those that are frozen wake, and may say their piece.

        Returns:
            What each agent then says that it remembers.

        Raises:
            AssertionError: it is not done in time, or the ledger does not balance.
        """
        for short in PEERS:
            self.ref(short).resume()
        eventually(self._is_drained, _PATIENCE_S)
        woken = {worker.process.pid for worker in self.thaw()}
        eventually(lambda: woken <= self._leased() | self._gone(woken), _PATIENCE_S)
        reports = {short: self.ask(short, "report") for short in PEERS}
        eventually(self._is_drained, _PATIENCE_S)
        ledger = read_ledger(self._client, self._keys)
        assert ledger.is_balanced, ledger
        self._is_clean = True
        return reports

    def _is_drained(self) -> bool:
        self.mind()
        assert max(self.held().values(), default=0) <= 1
        ledger = read_ledger(self._client, self._keys)
        return not (ledger.queued or ledger.scheduled or ledger.inflight)

    def _leased(self) -> set[int]:
        """The pids of who has a lease that has not run out."""
        seconds, micros = self._client.time()
        return set(self._pids(self._client.zrangebyscore(self._keys.leases, seconds * 1000 + micros // 1000, "+inf")))

    def _pids(self, consumers: list[bytes]) -> list[int]:
        found = self._client.hmget(self._keys.members, consumers) if consumers else []
        return [json.loads(about)["pid"] for about in found if about]

    def _gone(self, pids: set[int]) -> set[int]:
        return pids - {worker.process.pid for worker in self._living()}


def _list_of(entry: bytes) -> bytes:
    """The list of what is in flight: its length, a colon, it, and then the message."""
    size, _, rest = entry.partition(b":")
    return rest[: int(size)]


def _is_stopped(worker: Worker) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(") ")[2][:1] == "T"
    return False
