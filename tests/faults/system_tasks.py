"""The app of fault tests, which hosts agents of the stack; their workers die at the worst moments, once each."""

from __future__ import annotations

import os
import signal
from typing import Any

from hardening.agents import handles
from tests.faults.tasks import _note, app, ledger
from workers.health import Limit
from workers.monitor_agent import MonitorAgent
from workers.system_agents import host_agents
from workers.task_agent import TaskAgent

__all__ = ["CONCURRENCY", "app", "monitor_name", "task_name"]

_PREFIX = os.environ["FAULTS_PREFIX"]
CONCURRENCY = 3


def task_name(prefix: str) -> str:
    """The name of a test's task agent."""
    return f"task.{prefix}"


def monitor_name(prefix: str) -> str:
    """The name of a test's monitor agent."""
    return f"monitor.{prefix}"


def _die_once(what: str) -> None:
    """Kills this process, if nobody in whichever process has died of this before."""
    if ledger(os.getpid()).hsetnx(f"{_PREFIX}:died", what, 1):
        os.kill(os.getpid(), signal.SIGKILL)


class Tasks(TaskAgent):
    """Dies when it has decided what to send, and has not committed it."""

    name = task_name(_PREFIX)
    concurrency = CONCURRENCY

    @handles("tick")
    def tick(self, series: int) -> None:
        """As always, until then."""
        super().tick(series)
        if len(self.state.queue.running) > CONCURRENCY:
            _note("crowded", self.name)
        if len(self.state.queue.ended) >= 8 and self.outbox.letters:
            _die_once("sending")


class Monitors(MonitorAgent):
    """Dies when it has told subscribers of an alert, and has not committed that."""

    name = monitor_name(_PREFIX)
    every_s = 0.2
    limits = {"queue_depth": Limit(resolve=15, raise_at=20)}  # noqa: RUF012 - as its parent has it

    @handles("announce")
    def announce(self) -> None:
        """As always, until then."""
        super().announce()
        _die_once("telling")


@app.task(shared=False)
def item(key: str) -> None:
    """Says in which order items were begun."""
    _note("began", key)
    ledger(os.getpid()).rpush(f"{_PREFIX}:order", key)


@app.task(shared=False)
def heard(signal_name: str, payload: dict[str, Any]) -> None:
    """Says what it was told."""
    _note("heard", f"{signal_name} {payload['name']}")


host_agents(app, Tasks, Monitors)
