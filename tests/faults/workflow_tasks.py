"""The app of fault tests, which hosts a coordinator and two performers; its processes die where they are told to."""

from __future__ import annotations

import os
import signal
from typing import Any

from pydantic import Field

from hardening import AgentState, handles, host
from hardening.agents.store import Store
from hardening.agents.supervisor import Supervisor
from tests.faults.tasks import app, ledger
from workers.coordinator_agent import CoordinatorAgent
from workers.performer import Performer

__all__ = ["Boss", "Left", "Right", "app", "name_of"]

_PREFIX = os.environ["FAULTS_PREFIX"]
_KILLS = {"child": lambda: os.kill(os.getpid(), signal.SIGKILL), "worker": lambda: os.killpg(0, signal.SIGKILL)}


def name_of(role: str, prefix: str) -> str:
    """The name of a test's agent."""
    return f"{role}.{prefix}"


class Boss(CoordinatorAgent):
    """The coordinator of a test."""

    name = name_of("boss", _PREFIX)
    tick_s = 0.3
    supervisor = Supervisor(max_restarts=0)

    @handles("step_done")
    def step_done(self, workflow: str, step: str, attempt: int, result: Any = None) -> None:
        """May die for it."""
        _Fate.decide("boss", step)
        super().step_done(workflow, step, attempt, result)


class _Hand(Performer):
    """One of two that can do the same."""

    coordinator = name_of("boss", _PREFIX)
    supervisor = Supervisor(max_restarts=0)

    class State(AgentState):
        """What it remembers."""

        done: list[str] = Field(default_factory=list)

    def perform_work(self, number: int) -> list[Any]:
        """Is done once."""
        _Fate.decide("hand", self.order.step)
        self.state.done.append(self.order.step)
        return [number, self.order.results]


class Left(_Hand):
    """One."""

    name = name_of("left", _PREFIX)


class Right(_Hand):
    """The other."""

    name = name_of("right", _PREFIX)


class _Fate:
    """What this process dies of: ``trap:<who>:<step>`` in the ledger says when, and what is killed; each once."""

    after = ""

    @classmethod
    def decide(cls, who: str, step: str) -> None:
        """Before something is done."""
        trap: Any = ledger(os.getpid()).getdel(f"{_PREFIX}:trap:{who}:{step}")
        when, _, what = (trap or b"").decode().partition(" ")
        if when == "before":
            _KILLS[what]()
        cls.after = what


_commit = Store.commit


def _commit_and_die(store: Store, *args: Any) -> str:
    mark = _commit(store, *args)
    if _Fate.after:
        _KILLS[_Fate.after]()
    return mark


Store.commit = _commit_and_die  # type: ignore[method-assign, assignment]
host(app, Boss, Left, Right)
