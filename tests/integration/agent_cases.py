"""Agents for tests, each with a name of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hardening import Agent, AgentState, handles, host
from hardening.core import telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

__all__ = ["Ledger", "captured", "hosted_as"]


class Ledger(Agent):
    """Adds up."""

    class State(AgentState):
        """What it remembers."""

        total: int = 0
        said: list[Any] = Field(default_factory=list)

    started = 0

    def on_start(self) -> None:
        """Counted on the class."""
        type(self).started += 1

    @handles("add")
    def add(self, n: int) -> int:
        """Adds."""
        self.state.total += n
        return int(self.state.total)

    @handles("add_twice")
    def add_twice(self, n: int, later_s: float = 0.0) -> None:
        """Now and by a message to itself."""
        self.state.total += n
        if later_s:
            self.tell_self_after(later_s, "add", n)
        else:
            self.tell_self("add", n)

    @handles
    def forward(self, to: str, n: int) -> None:
        """Has another add."""
        self.tell(to, "add", n)

    @handles
    def spoil(self, n: int) -> None:
        """Changes everything, and raises."""
        self.state.total = n
        self.tell_self("add", n)
        raise ValueError(f"no {n}")

    @handles
    def look(self) -> dict[str, Any]:
        """Changes nothing."""
        return {"total": self.state.total}

    @handles
    def later(self) -> None:
        """Answers when it is told to."""
        self.state.said.append(self.defer())

    @handles
    def now(self, value: Any) -> None:
        """Answers all who were left waiting."""
        for ask in self.state.said:
            self.reply(ask, value)
        self.state.said.clear()

    @handles
    def unspeakable(self) -> object:
        """Returns what is not JSON."""
        self.state.total = -1
        return object()

    @handles
    def agent_down(self, down: dict[str, Any]) -> None:
        """Is an owner."""
        self.state.said.append(down)


def hosted_as(app: Celery, name: str, like: type[Agent] = Ledger, **attributes: Any) -> type[Agent]:
    """Such an agent of a test's own, hosted by its app."""
    cls = type(like.__name__, (like,), {"name": name, "started": 0, **attributes})
    host(app, cls)
    return cls


@contextmanager
def captured(name: str) -> Iterator[list[Any]]:
    """The events of a name."""
    with telemetry.capture(name) as told:
        yield told
