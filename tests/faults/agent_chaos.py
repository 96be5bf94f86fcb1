"""The long fault test of agents: ``make chaos AGENTS=1 KILLS=100``, or this module with ``--kills 100 --seed 1``.

Three workers host a bank that is told and asked a seeded series of things. All along, pool processes die in the middle
of a handler and right after its commit, and workers are killed or frozen past their lease, by the seed. In the end the
state must be that of a bank that was told the same by one thread: each thing once, in order, self-sends included.

With ``--machine`` (``make chaos AGENTS=1 KILLS=100 ARGS=--machine``) it is the state machine of Hypothesis instead:
histories of three agents that also tell and ask each other, until so many processes were killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardening import agent
from hardening.agents.errors import AskFailed
from hardening.core.deployment import client_of, settings_of
from hardening.core.embedded import EmbeddedRedis
from tests.closing import close
from tests.eventually import eventually
from tests.faults.agent_machine import run_until
from tests.faults.agent_model import Model, Order, orders
from tests.faults.rig import Rig

if TYPE_CHECKING:
    from tests.faults.rig import Worker

__all__ = ["LEASE_S", "Chaos"]

LEASE_S = 1.0
_POOLS = (("prefork", 2), ("prefork", 1), ("threads", 2))
_PATIENCE_S = 60.0
_ORDERS_PER_KILL = 12


class Chaos:
    """One bank, its workers and its fate.

    Args:
        rig: for the workers.
        chance: decides.
        hosts: how many workers.

    Attributes:
        count: what happened to them.
        hosts: the workers.
    """

    def __init__(self, rig: Rig, chance: random.Random, hosts: int = 3) -> None:
        self._rig = rig
        self._chance = chance
        self.app = rig.producer()
        self.bank = agent(f"bank.{rig.prefix}", app=self.app)
        self.count: Counter[str] = Counter()
        self.hosts = [self._start(number) for number in range(hosts)]
        for host in self.hosts:
            rig.ready(host)

    def _start(self, number: int) -> Worker:
        pool, size = _POOLS[number % len(_POOLS)]
        return self._rig.start(
            pool, size, tasks="tests.faults.agent_tasks", queues=[self.bank.queue], faults_lease_s=str(LEASE_S),
            faults_max_crashes="1000", faults_crash_delay_s="0",
        )  # fmt: skip

    def strike(self, kind: str = "") -> None:
        """One misfortune, to the worker that holds the bank more often than not."""
        kind = kind or self._chance.choice(["kill", "kill", "freeze"])
        self.count[kind] += 1
        number = self._victim()
        host = self.hosts[number]
        if kind == "kill":
            self._rig.kill(host)
            self.hosts[number] = self._start(number)
        else:
            os.killpg(host.process.pid, signal.SIGSTOP)
            threading.Event().wait(self._chance.uniform(LEASE_S, 3 * LEASE_S))
            os.killpg(host.process.pid, signal.SIGCONT)

    def _victim(self) -> int:
        holder = self.holder()
        return self._chance.randrange(len(self.hosts)) if holder is None or self._chance.random() < 0.2 else holder

    def holder(self) -> int | None:
        """Which of the workers holds the bank; None: none that lives."""
        client: Any = client_of(self.app)
        keys = settings_of(self.app).keys
        holder = client.hget(keys.mailbox(self.bank.queue), "holder") or b""
        about = json.loads(client.hget(keys.members, holder) or "{}")
        return next((at for at, host in enumerate(self.hosts) if host.process.pid == about.get("pid")), None)

    def end(self) -> None:
        """Ends all workers at once."""
        for host in self.hosts:
            host.kill()
        close(self.app)

    def replace_dead(self) -> None:
        """Starts anew what a trap has killed whole."""
        for number, host in enumerate(self.hosts):
            if host.process.poll() is not None:
                self.hosts[number] = self._start(number)

    def send(self, model: Model, series: list[Order]) -> None:
        """Has the bank and the model do the same; compares the answers where somebody waits for one."""
        for order in series:
            try:
                expected: Any = model.run(order)
            except ValueError as error:
                expected = f"ValueError: {error}"
            if not order.is_asked:
                self.bank.tell(order.handler, *order.args, trap=order.trap)
                continue
            try:
                said = self.bank.ask(order.handler, *order.args, trap=order.trap, timeout=_PATIENCE_S)
            except AskFailed as error:
                said = f"{error.error_type}: {error.error}"
            assert said == expected, (order, said, expected)

    def state(self) -> dict[str, Any]:
        """The bank's state as it was committed last."""
        client: Any = client_of(self.app)
        found: dict[str, Any] = json.loads(
            client.hget(settings_of(self.app).keys.agent(self.bank.name), "state") or "{}"
        )
        return found

    def settle(self, model: Model) -> None:
        """Waits until all is done, and compares.

        Raises:
            AssertionError: the bank is not the model.
        """
        wanted = len(model.applied), len(model.echoed), len(model.paid)

        def is_done() -> bool:
            self.replace_dead()
            state = self.state()
            return tuple(len(state.get(name, ())) for name in ("applied", "echoed", "paid")) >= wanted

        try:
            eventually(is_done, _PATIENCE_S)
        finally:
            ledger = self._rig.settled(_PATIENCE_S)
        assert self.state() == vars(model)
        self.count["refused"] = ledger.letters


def run(chaos: Chaos, chance: random.Random, kills: int) -> str:
    """All of it; returns what happened.

    Raises:
        AssertionError: an answer, or the bank in the end, is not the model's.
    """
    model, wrong = Model(), list[BaseException]()
    strikes, traps = kills // 2, kills - kills // 2
    series = orders(chance, _ORDERS_PER_KILL * kills, traps)

    def send() -> None:
        try:
            chaos.send(model, series)
        except BaseException as error:  # noqa: BLE001 - raised below
            wrong.append(error)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    for _ in range(strikes):
        threading.Event().wait(chance.uniform(0.0, 2 * LEASE_S))
        chaos.replace_dead()
        chaos.strike()
    while sender.is_alive():
        chaos.replace_dead()
        sender.join(0.2)
    if wrong:
        raise wrong[0]
    chaos.settle(model)
    return f"{len(model.applied)} applied once and in order, {traps} deadly messages, {dict(chaos.count)}"


def main() -> int:
    """The command: until so many workers and pool processes have died. Exit code 1: something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--machine", action="store_true", help="histories of Hypothesis")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with (
        EmbeddedRedis(port=0) as broker,
        EmbeddedRedis(port=0) as ledger,
        tempfile.TemporaryDirectory() as logs,
        ledger.client() as client,
    ):
        rig = Rig(broker.broker_url, client, ledger.url, f"chaos{options.seed}", Path(logs))
        try:
            told = run_until(rig, options.kills, options.seed) if options.machine else ""
            sys.stdout.write((told or run(Chaos(rig, chance), chance, options.kills)) + "\n")
        except AssertionError as wrong:
            if options.machine:
                raise  # Hypothesis has noted the history on it
            sys.stdout.write(f"wrong: {wrong}\n")
            return 1
        finally:
            rig.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
