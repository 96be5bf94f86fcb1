"""The keys of agents and their mailboxes; :mod:`hardening.core.keys` has the table of all."""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.beat_keys import BeatKeys

__all__ = ["MAILBOX_HEAD", "AgentKeys", "mailbox_queue"]

#: What the name of a queue that is a mailbox begins with; ``lib/mailbox.lua`` knows it, too.
MAILBOX_HEAD = "agent."


def mailbox_queue(agent: str) -> str:
    """The queue that is an agent's mailbox."""
    return f"{MAILBOX_HEAD}{agent}"


@dataclass(frozen=True, slots=True)
class AgentKeys(BeatKeys):
    """What agents need."""

    def mailbox(self, queue: str) -> str:
        """Makes a queue a mailbox: who holds it, whether it is halted, and its bound."""
        return f"{self.prefix}:mailbox:{queue}"

    def mailbox_room(self, queue: str) -> str:
        """Tells one who waits for room in a mailbox that there is some."""
        return f"{self.prefix}:mailbox:{queue}:room"

    @property
    def agents(self) -> str:
        """The names of all agents."""
        return f"{self.prefix}:agents"

    def agent(self, name: str) -> str:
        """The state of an agent."""
        return f"{self.prefix}:agent:{name}"

    def journal(self, name: str) -> str:
        """What an agent did since its state was last written."""
        return f"{self.prefix}:agent:{name}:journal"

    def restarts(self, name: str) -> str:
        """When an agent was restarted."""
        return f"{self.prefix}:agent:{name}:restarts"

    def reply(self, ask: str) -> str:
        """The answer to one who asked."""
        return f"{self.prefix}:reply:{ask}"
