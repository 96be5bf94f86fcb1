"""Telling an agent something: one supervised message to its mailbox, within its bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardening.agents.atelling import AsyncTelling, is_simple
from hardening.agents.mailbox import Mailbox
from hardening.agents.names import addressed
from hardening.agents.table import table_of
from hardening.core.agent_message import AGENT_TASK, REPLY_HEADER
from hardening.core.errors import ConfigError
from hardening.core.scripts.mailing import Bound, WhenFull
from hardening.delivery.mailbox import atell_mailbox, tell_mailbox

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

    from hardening.delivery.receipt import Receipt

__all__ = ["asking", "atell", "tell"]


def tell(
    app: Celery, agent: str, handler: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> Receipt:
    """Sends a message to an agent; see :meth:`~hardening.agents.ref.AgentRef.tell`."""
    box, said = _mailbox_of(app, agent), _options(app, agent, handler, options)
    return tell_mailbox(
        AGENT_TASK,
        (handler, *args),
        kwargs,
        agent=agent,
        bound=_bound(box),
        app=app,
        **{"block_s": box.block_s, **said},
    )


async def atell(
    app: Celery, agent: str, handler: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> Receipt:
    """The same from a coroutine; a thread is needed only for what is no part of the round trip."""
    box, said = _mailbox_of(app, agent), _options(app, agent, handler, options)
    said = {"block_s": box.block_s, **said}
    if not is_simple(app, options):
        return await atell_mailbox(
            AGENT_TASK, (handler, *args), kwargs, agent=agent, bound=_bound(box), app=app, **said
        )
    telling = AsyncTelling(app, agent, _bound(box), said.pop("block_s"), {"task": AGENT_TASK, **said})
    return await telling.send((handler, *args), kwargs)


def asking(options: Mapping[str, Any], ask: str, timeout_s: float) -> dict[str, Any]:
    """The options of a message that is to be answered."""
    headers = {**(options.get("headers") or {}), REPLY_HEADER: ask}
    return {"on_error": "raise", **options, "headers": headers, "timeout": min(options.get("timeout", 5.0), timeout_s)}


def _mailbox_of(app: Celery, agent: str) -> Mailbox:
    """As its class has it; where that is not known here, as most have it."""
    cls = table_of(app).get(agent)
    return Mailbox() if cls is None else cls.mailbox


def _bound(box: Mailbox) -> Bound:
    return Bound(box.bound, WhenFull(box.when_full))


def _options(app: Celery, agent: str, handler: str, options: Mapping[str, Any]) -> dict[str, Any]:
    if app.conf.task_always_eager:
        raise ConfigError(
            f"agent {agent} cannot be told anything with task_always_eager: agents run in workers; call its handlers "
            "as methods in tests, as in Inventory(app, Inventory.State()).reserve('x', 1)"
        )
    return {**options, **addressed(agent, handler)}
