"""Three agents as one would write them without workers, and what they are told.

What an agent hears stands in its state by who said it. Between different senders Redis decides who comes first; what
one sender says to one agent keeps its order. So the state is the same for each order that is allowed, and the model
may take the simplest: everything at once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["ASKED_BY", "OUTSIDE", "PEERS", "TRAPS", "Peers", "Said", "is_beginning", "peer_name"]

PEERS = "abc"
#: Whom an agent may ask: in a ring they would wait for each other.
ASKED_BY = {"a": "bc", "b": "c", "c": ""}
#: The sender that is no agent.
OUTSIDE = "outside"
#: What may become of the process that handles a message.
TRAPS = ("before", "after", "freeze before", "freeze after")


def peer_name(short: str, prefix: str) -> str:
    """The name of an agent of a test."""
    return f"{short}.{prefix}"


class Said(NamedTuple):
    """One thing that an agent is told.

    Attributes:
        peer: who is told.
        handler: what.
        to: whom it tells or asks in turn.
        trap: one of :data:`TRAPS`, or empty.
    """

    peer: str
    handler: str
    to: str = ""
    trap: str = ""


def _blank() -> dict[str, Any]:
    return {"heard": {}, "questions": [], "answers": {}}


@dataclass
class Peers:
    """The agents, in one thread.

    Attributes:
        states: what each remembers.
        buried: the numbers of what became a dead letter.
    """

    states: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(_blank))
    buried: list[int] = field(default_factory=list)

    def run(self, said: Said, number: int, *, is_asked: bool) -> Any:
        """Does what one agent is told from outside.

        Returns:
            Its answer, or what was raised, as ``type: text``.
        """
        if said.handler == "fail":
            self.buried.append(number)
            return f"ValueError: {number} fails"
        if said.handler == "refuse":
            self.buried += [] if is_asked else [number]
            return f"Refused: {number} is refused"
        if said.handler == "consult":
            self.states[said.peer]["answers"][str(number)] = -number
            self.states[said.to]["questions"].append(number)
        if said.handler == "echo":
            self._hears(said.peer, said.peer, number)
        if said.handler == "pass_on":
            self._hears(said.to, said.peer, number)
        return self._hears(said.peer, OUTSIDE, number)

    def _hears(self, peer: str, sender: str, number: int) -> int:
        heard: list[int] = self.states[peer]["heard"].setdefault(sender, [])
        heard.append(number)
        return len(heard)


def is_beginning(state: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Whether an agent that remembers this may yet remember all that: nothing of it is new, or out of turn."""
    return (
        all(numbers == whole["heard"].get(sender, [])[: len(numbers)] for sender, numbers in state["heard"].items())
        and set(state["questions"]) <= set(whole["questions"])
        and state["answers"].items() <= whole["answers"].items()
    )
