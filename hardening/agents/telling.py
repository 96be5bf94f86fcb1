"""Telling an agent something: one supervised message to its mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardening.agents.names import addressed
from hardening.core.agent_message import AGENT_TASK, REPLY_HEADER
from hardening.core.errors import ConfigError
from hardening.delivery.asend import asupervised_send
from hardening.delivery.send import supervised_send

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

    from hardening.delivery.receipt import Receipt

__all__ = ["atell", "tell"]


def tell(
    app: Celery, agent: str, handler: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> Receipt:
    """Sends a message to an agent; see :meth:`~hardening.agents.ref.AgentRef.tell`."""
    return supervised_send(AGENT_TASK, (handler, *args), kwargs, app=app, **_options(app, agent, handler, options))


async def atell(
    app: Celery, agent: str, handler: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> Receipt:
    """The same from a coroutine."""
    sent = _options(app, agent, handler, options)
    return await asupervised_send(AGENT_TASK, (handler, *args), kwargs, app=app, **sent)


def asking(options: Mapping[str, Any], ask: str, timeout_s: float) -> dict[str, Any]:
    """The options of a message that is to be answered."""
    headers = {**(options.get("headers") or {}), REPLY_HEADER: ask}
    return {"on_error": "raise", **options, "headers": headers, "timeout": min(options.get("timeout", 5.0), timeout_s)}


def _options(app: Celery, agent: str, handler: str, options: Mapping[str, Any]) -> dict[str, Any]:
    if app.conf.task_always_eager:
        raise ConfigError(
            f"agent {agent} cannot be told anything with task_always_eager: agents run in workers; call its handlers "
            "as methods in tests, as in Inventory(app, Inventory.State()).reserve('x', 1)"
        )
    return {**options, **addressed(agent, handler)}
