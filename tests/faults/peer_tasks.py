"""The app of the machine's workers: three agents that note what they hear, tell and ask each other, and refuse."""

from __future__ import annotations

import os
import threading
from typing import Any

from pydantic import Field

from hardening import Agent, AgentState, agent, handles, host
from hardening.agents import AgentHalted, Refused
from hardening.agents.mailbox import Mailbox
from hardening.agents.supervisor import Supervisor
from tests.faults.agent_traps import spring
from tests.faults.peer_model import PEERS, peer_name
from tests.faults.tasks import app

__all__ = ["app"]

_PREFIX = os.environ["FAULTS_PREFIX"]
_PATIENCE_S = 60.0


class _Peer(Agent):
    """See :class:`~tests.faults.peer_model.Peers`, which does the same in one thread."""

    mailbox = Mailbox(bound=100_000)
    supervisor = Supervisor("restart", max_restarts=100_000)
    short = ""

    class State(AgentState):
        """What it remembers."""

        heard: dict[str, list[int]] = Field(default_factory=dict)
        questions: list[int] = Field(default_factory=list)
        answers: dict[str, int] = Field(default_factory=dict)

    @handles("note")
    def note(self, sender: str, number: int, _to: str = "", trap: str = "") -> int:
        """Hears something."""
        return self._hears(sender, number, trap)

    @handles("echo")
    def echo(self, sender: str, number: int, _to: str = "", trap: str = "") -> int:
        """Tells itself."""
        self.tell_self("note", self.short, number)
        return self._hears(sender, number, trap)

    @handles("pass_on")
    def pass_on(self, sender: str, number: int, to: str, trap: str = "") -> int:
        """Tells another, with the commit."""
        self.tell(peer_name(to, _PREFIX), "note", self.short, number)
        return self._hears(sender, number, trap)

    @handles("consult")
    def consult(self, sender: str, number: int, to: str, trap: str = "") -> int:
        """Asks another: at once, so again when this is run again."""
        self.state.answers[str(number)] = self._ask(to, number)
        return self._hears(sender, number, trap)

    @handles("question")
    def question(self, number: int) -> int:
        """Another asks, and again if it dies of it."""
        self.state.questions = sorted({*self.state.questions, number})
        return -number

    @handles("fail")
    def fail(self, sender: str, number: int, _to: str = "", trap: str = "") -> None:
        """Changes its state, says something, and raises."""
        self.tell_self("note", self.short, number)
        self._hears(sender, number, trap)
        raise ValueError(f"{number} fails")

    @handles("refuse")
    def refuse(self, sender: str, number: int, _to: str = "", trap: str = "") -> None:
        """Likewise, but it is no failure."""
        self.tell_self("note", self.short, number)
        self._hears(sender, number, trap)
        raise Refused(f"{number} is refused")

    @handles("report")
    def report(self) -> dict[str, Any]:
        """All that it remembers."""
        return dict(self.state.model_dump())

    def _hears(self, sender: str, number: int, trap: str) -> int:
        heard = self.state.heard.setdefault(sender, [])
        heard.append(number)
        spring(trap, f"{self.short} {number}")
        return len(heard)

    def _ask(self, to: str, number: int) -> int:
        for _ in range(round(_PATIENCE_S / 0.05)):
            try:
                return int(agent(peer_name(to, _PREFIX), app=self.app).ask("question", number, timeout=_PATIENCE_S))
            except AgentHalted:
                threading.Event().wait(0.05)
        raise TimeoutError(to)


for _short in PEERS:
    # The last one keeps a journal; it asks nobody, which a journal that is run again would do once more.
    _said = {"name": peer_name(_short, _PREFIX), "short": _short, "snapshot_every": 3 if _short == PEERS[-1] else 1}
    host(app, type(f"Peer_{_short}", (_Peer,), _said))
