"""``hardening.agent``: the one Celery task that runs all agents of an app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardening.agents.errors import AgentError, AgentUnknown
from hardening.agents.running import Message, run
from hardening.core.agent_keys import MAILBOX_HEAD
from hardening.core.agent_message import AGENT_TASK, MAILBOX_PROPERTY, REPLY_HEADER
from hardening.core.scripts.agenting import Turn
from hardening.core.travel import header_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery, Task

    from hardening.agents.actor import Agent

__all__ = ["add_task"]

#: An id of an ask: what else stands in a message names no key.
_ID_LENGTH = 36


def add_task(app: Celery, hosted: Mapping[str, type[Agent]]) -> None:
    """Registers the task with an app, once.

    Args:
        app: a hardened one.
        hosted: the classes of its agents, by name.
    """

    def handle(task: Task[Any, Any], handler: str, /, *args: Any, **kwargs: Any) -> None:
        turn = _turn_of(task)
        cls = hosted.get(turn.agent)
        if cls is None:
            raise AgentUnknown(turn.agent)
        run(task.app, cls, turn, Message(str(handler), args, kwargs, _ask_of(task)))

    make: Any = app.task
    make(name=AGENT_TASK, bind=True, shared=False, ignore_result=True, acks_late=True, typing=False)(handle)


def _turn_of(task: Task[Any, Any]) -> Turn:
    """Which message of which mailbox this is.

    Raises:
        AgentError: it was taken from none.
    """
    properties: Any = task.request.properties
    said = properties.get(MAILBOX_PROPERTY) if isinstance(properties, dict) and not task.request.is_eager else None
    if said is None:
        raise AgentError("?", f"was not told by its mailbox: {AGENT_TASK} runs in hardened workers, from agent.NAME")
    agent = said["queue"].removeprefix(MAILBOX_HEAD)
    return Turn(agent, said["consumer"], said["seq"], said["message"], said["version"])


def _ask_of(task: Task[Any, Any]) -> str:
    ask = header_of(task.request, REPLY_HEADER)
    return ask if isinstance(ask, str) and len(ask) == _ID_LENGTH else ""
