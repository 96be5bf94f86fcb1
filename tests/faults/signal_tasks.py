"""A task and an agent that are told of signals, for the app of fault tests."""

from __future__ import annotations

import os
import threading
from typing import Any

from pydantic import Field

from hardening import Agent, AgentState, handles, host
from tests.faults.tasks import _note, app, ledger

__all__ = ["Listener", "app"]


@app.task(shared=False)
def told(signal: str, payload: Any) -> None:
    """Begins, and ends when the ledger says that the gate is open."""
    _note("began", f"{signal} {payload}")
    while not ledger(os.getpid()).exists(f"{os.environ['FAULTS_PREFIX']}:gate"):
        threading.Event().wait(0.02)
    _note("done", f"{signal} {payload}")


class Listener(Agent):
    """Remembers what it is told, and when it ticks."""

    name = f"listener.{os.environ['FAULTS_PREFIX']}"

    class State(AgentState):
        """What it remembers."""

        heard: list[Any] = Field(default_factory=list)
        ticks: list[int] = Field(default_factory=list)

    @handles("on_signal")
    def on_signal(self, signal: str, payload: Any) -> None:
        """Of a signal."""
        self.state.heard.append([signal, payload])

    @handles("tick")
    def tick(self, n: int) -> None:
        """Of a slot."""
        self.state.ticks.append(n)


host(app, Listener)
