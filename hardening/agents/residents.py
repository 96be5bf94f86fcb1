"""Agents that live in this process: as they were committed last, if nobody has run them elsewhere since."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery import Celery

    from hardening.agents.actor import Agent
    from hardening.core.scripts.agenting import Turn

__all__ = ["Resident", "residents_of"]

_RESIDENTS = "_hardening_residents"
#: How many agents a process keeps at most.
_MOST = 1000


@dataclass(slots=True)
class Resident:
    """An agent and its version.

    Attributes:
        agent: the instance.
        mark: of the version; empty: none was committed yet.
        written: its state as it was written whole last; None: that is not known.
        entries: how many messages were committed since.
    """

    agent: Agent
    mark: str
    written: bytes | None = None
    entries: int = 0

    def is_as(self, turn: Turn) -> bool:
        """Whether it is what a message is to be applied to: it was not when that was taken, or that made it."""
        return self.mark == turn.version != "" and self.mark.partition(" ")[2] != turn.message


class Residents:
    """The agents of one app in this process.

    Who runs one takes it out, and puts it back when it is committed: a thread that was given up and still runs shares
    it with nobody, and what raises leaves nothing behind.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._all: OrderedDict[str, Resident] = OrderedDict()

    def take(self, name: str) -> Resident | None:
        """Takes one out, if it is there."""
        with self._mutex:
            return self._all.pop(name, None)

    def put(self, resident: Resident) -> None:
        """Puts one in."""
        with self._mutex:
            self._all[resident.agent.name] = resident
            if len(self._all) > _MOST:
                self._all.popitem(last=False)


def residents_of(app: Celery) -> Residents:
    """Those of an app."""
    residents: Residents = vars(app).setdefault(_RESIDENTS, Residents())
    return residents
