"""Three agents, the workers that host them, and what befalls those; kept from one history of the machine to the next."""

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
    from hardening.agents.ref import AgentRef
    from tests.faults.rig import Rig, Worker

__all__ = ["House"]

_LEASE_S = "1"
#: How long anything may take that must happen, in seconds.
_PATIENCE_S = 40.0
_POOLS = ("threads", "prefork")
#: As many as there are agents: one that waits for another's answer keeps nobody from giving it.
_PLACES = len(PEERS)
_MOST_WORKERS = 3
_MOST_FROZEN = 2


class House:
    """The workers of one machine.

    Args:
        rig: for them; its prefix is that of the first lot.

    Attributes:
        count: what happened to them.
    """

    def __init__(self, rig: Rig) -> None:
        self._first = rig
        self._lots = itertools.count()
        self._numbers = itertools.count()
        self._is_clean = False
        self.count: Counter[str] = Counter()
        self._workers: list[Worker] = []

    def enter(self) -> None:
        """A history begins: with the workers of the last one, unless that went wrong, and agents that know nothing."""
        if not self._is_clean:
            self.end()
            self._rig = replace(self._first, prefix=f"{self._first.prefix}{next(self._lots)}", workers=[])
            self._app = self._rig.producer()
            self._client: Any = client_of(self._app)
            self._keys = settings_of(self._app).keys
            for worker in [self.start(), self.start()]:
                self._rig.ready(worker)
        self._is_clean = False
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

    def start(self) -> Worker:
        """One more worker, which is ready some time later."""
        queues = [mailbox_queue(peer_name(short, self._rig.prefix)) for short in PEERS]
        worker = self._rig.start(
            _POOLS[len(self._rig.workers) % len(_POOLS)], _PLACES, tasks="tests.faults.peer_tasks", queues=queues,
            faults_lease_s=_LEASE_S, faults_max_crashes="1000", faults_crash_delay_s="0", faults_poll_s="0.2",
        )  # fmt: skip
        self._workers.append(worker)
        return worker

    def start_another(self) -> None:
        """The same, if there are not too many."""
        if len(self._running()) < _MOST_WORKERS:
            self.start()

    def kill(self, which: int) -> None:
        """SIGKILL, to one of them."""
        running = self._running()
        if running:
            self.count["killed"] += 1
            running[which % len(running)].kill()

    def freeze(self, which: int) -> None:
        """SIGSTOP, to one of them."""
        running = self._running()
        if running:
            os.killpg(running[which % len(running)].process.pid, signal.SIGSTOP)

    def thaw(self) -> list[Worker]:
        """SIGCONT, to all that are stopped; returns them."""
        frozen = [worker for worker in self._living() if _is_stopped(worker)]
        for worker in frozen:
            self.count["frozen"] += 1
            os.killpg(worker.process.pid, signal.SIGCONT)
        return frozen

    def mind(self) -> None:
        """Sees to it that somebody runs agents, and that not too many are frozen."""
        if not self._running():
            self.start()
        if len(self._living()) - len(self._running()) > _MOST_FROZEN:
            self.thaw()

    def _living(self) -> list[Worker]:
        dead = [worker for worker in self._workers if worker.process.poll() is not None]
        self.count["died"] += len(dead)
        self._workers = [worker for worker in self._workers if worker not in dead]
        return self._workers

    def _running(self) -> list[Worker]:
        return [worker for worker in self._living() if not _is_stopped(worker)]

    # -- what agents are told

    def number(self) -> int:
        """One that no message had before."""
        return next(self._numbers)

    def tell(self, said: Said, number: int) -> None:
        """Tells an agent."""
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

        threading.Thread(target=wait, daemon=True).start()
        eventually(lambda: self.mind() or answers, _PATIENCE_S)
        return answers[0]

    def ask_outside(self, said: Said, number: int) -> Any:
        """The same, of what an agent may be told."""
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
        """The pids of who has a lease."""
        live = self._client.zrange(self._keys.leases, 0, -1)
        found = self._client.hmget(self._keys.members, live) if live else []
        return {json.loads(about)["pid"] for about in found if about}

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
