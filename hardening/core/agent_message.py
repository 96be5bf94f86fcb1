"""What a message to an agent is called, and what it carries besides its arguments."""

from __future__ import annotations

__all__ = ["AGENT_TASK", "MAILBOX_PROPERTY", "REPLY_HEADER"]

#: The one task that runs all agents. Its first argument names the handler.
AGENT_TASK = "hardening.agent"
#: Where a worker tells the task from which mailbox it was taken, and as what. Properties, unlike headers, do not
#: travel on to other messages.
MAILBOX_PROPERTY = "hardening_mailbox"
#: The header that names the reply list of one who asked.
REPLY_HEADER = "hardening_reply_to"
