"""What mailboxes ask of Redis, one typed function for each script. Times are in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardening.core.agent_keys import mailbox_queue
from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from hardening.core.keys import Keys

__all__ = ["found"]


def found(keys: Keys, agent: str, bound: int) -> Call:
    """Makes the queue of an agent a mailbox, with a bound. Reply: 1, or 0 when it was so."""
    return Call(_FOUND, (keys.mailbox(mailbox_queue(agent)), keys.agents), (agent, bound))


_FOUND = Script.load("found_mailbox")
