"""Names of agents, and where their messages go."""

from __future__ import annotations

import re
from typing import Any

from kombu import Exchange, Queue

from hardening.core.agent_keys import mailbox_queue

__all__ = ["addressed", "checked_name", "mailbox_entity"]

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.@-]{0,126}[A-Za-z0-9_])?")


def checked_name(name: Any) -> str:
    """The name of an agent.

    Raises:
        ValueError: it is none: a key in Redis, a queue and a command line must take it as it is.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"an agent is named {name!r}, expected 1 to 128 letters, digits and . _ @ - (not at its beginning or end)"
        )
    return name


def addressed(agent: str, handler: str) -> dict[str, Any]:
    """The options of a message to an agent. It has one list, whatever priorities there are: order is kept.

    Raises:
        ValueError: it is no name for an agent.
    """
    return {
        "queue": mailbox_entity(mailbox_queue(checked_name(agent))),
        "shadow": f"{agent}.{handler}",
        "priority": 0,
        "ignore_result": True,
    }


def mailbox_entity(queue: str) -> Queue:
    """The queue of a mailbox, as Celery takes it, whether the app declares it or not."""
    return Queue(queue, Exchange("", type="direct"), queue)
