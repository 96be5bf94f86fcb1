"""The app of fault tests, which hosts a bank; its workers die when they are told to, at the worst moments."""

from __future__ import annotations

import os
import threading

from pydantic import Field

from hardening import Agent, AgentState, handles, host
from hardening.agents.mailbox import Mailbox
from hardening.agents.supervisor import Supervisor
from tests.faults.agent_traps import spring
from tests.faults.tasks import app, ledger

__all__ = ["Bank", "app", "bank_name"]

_PREFIX = os.environ["FAULTS_PREFIX"]


def bank_name(prefix: str) -> str:
    """The name of a test's agent."""
    return f"bank.{prefix}"


class Bank(Agent):
    """Accounts, and in which order it was told what."""

    name = bank_name(_PREFIX)
    mailbox = Mailbox(bound=100_000)
    supervisor = Supervisor("restart", max_restarts=100_000)

    class State(AgentState):
        """What it remembers."""

        balances: dict[str, int] = Field(default_factory=dict)
        applied: list[int] = Field(default_factory=list)
        echoed: list[int] = Field(default_factory=list)
        paid: list[int] = Field(default_factory=list)

    @handles("deposit")
    def deposit(self, number: int, account: str, amount: int, trap: str = "") -> int:
        """Adds to an account."""
        self._applies(number, trap)
        self.state.balances[account] = self.state.balances.get(account, 0) + amount
        if number % 3 == 0:
            self.tell_self("echo", number)
        return int(self.state.balances[account])

    @handles("transfer")
    def transfer(self, number: int, source: str, target: str, amount: int, trap: str = "") -> bool:
        """From one account to another, if there is enough."""
        self._applies(number, trap)
        if self.state.balances.get(source, 0) < amount:
            return False
        self.state.balances[source] -= amount
        self.state.balances[target] = self.state.balances.get(target, 0) + amount
        self.tell_self("pay", number)
        return True

    @handles("refuse")
    def refuse(self, number: int, trap: str = "") -> None:
        """Changes the state, and raises."""
        self._applies(number, trap)
        self.state.balances.clear()
        self.tell_self("echo", -number)
        raise ValueError(f"{number} is refused")

    @handles("echo")
    def echo(self, number: int) -> None:
        """It said something to itself."""
        self.state.echoed.append(number)

    @handles("pay")
    def pay(self, number: int) -> None:
        """Likewise."""
        self.state.paid.append(number)

    @handles("wait")
    def wait(self, number: int) -> None:
        """Runs until the gate is open."""
        self._applies(number, "")
        ledger(os.getpid()).hincrby(f"{_PREFIX}:began", str(number), 1)
        while not ledger(os.getpid()).exists(f"{_PREFIX}:gate"):
            threading.Event().wait(0.02)

    def _applies(self, number: int, trap: str) -> None:
        self.state.applied.append(number)
        spring(trap, str(number))


host(app, Bank)
