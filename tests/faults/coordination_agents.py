"""Agents that vote, bid, work and answer, and say in the ledger what they did. Which, ``FAULTS_AGENTS`` tells."""

from __future__ import annotations

import os
import threading
from typing import Any, ClassVar

from hardening.agents import Agent, handles, host
from tests.faults.tasks import _note, app

__all__ = ["app"]


class Member(Agent):
    """Does what it is told."""

    capabilities: ClassVar[tuple[str, ...]] = ("lift",)

    @handles
    def on_vote(self, proposal: dict[str, Any]) -> bool:
        """As the proposal says."""
        return bool(proposal[self.name[-1]])

    @handles
    def on_decision(self, proposal: dict[str, Any], is_accepted: bool) -> None:
        """Hears of it."""
        _note("heard", f"{self.name[-1]} {proposal['what']} {is_accepted}")

    @handles
    def on_bid(self, task: dict[str, float]) -> float | None:
        """As the task says."""
        return task.get(self.name[-1])

    @handles
    def on_work(self, item: int) -> None:
        """Takes a while, and is slow with what is marked."""
        _note("begun", f"{self.name[-1]} {item}")
        threading.Event().wait(60 if item < 0 and self.name.endswith("c") else 0.02)
        _note("done", str(item))

    @handles("capabilities")
    def can(self) -> list[str]:
        """What it can do."""
        return list(self.capabilities)

    @handles
    def echo(self, text: str) -> str:
        """Says it again."""
        _note("echoed", text)
        return text


host(app, *(type("Named", (Member,), {"name": name}) for name in os.environ["FAULTS_AGENTS"].split(",")))
