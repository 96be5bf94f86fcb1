"""Messages that go out with a commit: made by Celery, published by the script that commits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import signature

from hardening.agents.names import addressed
from hardening.core import payload as payloads
from hardening.core import raw as raw_message
from hardening.core.agent_message import AGENT_TASK
from hardening.core.deployment import client_of
from hardening.core.scripts.agenting import Letter
from hardening.delivery.draft import Draft
from hardening.delivery.outgoing import fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery, Signature

    from hardening.delivery.publication import Publication

__all__ = ["letter_to", "notice_to", "task_letter"]


class _Timeless(Draft):
    """A message without a deadline: what goes out with a commit is part of the state. Without fields, no receipt."""

    def _finished(self, queue: str) -> Publication:
        headers = self.payload["headers"]
        headers.pop(payloads.DEADLINE_HEADER, None)
        if not self.fields:
            headers.pop(payloads.RECEIPT_HEADER, None)
        finished = super()._finished(queue)
        receipt = self.receipt if self.fields else None
        raw = payloads.dump(self.payload, self.payload["properties"]["delivery_tag"], receipt)
        return finished.with_message(raw, self.fields)


def letter_to(
    app: Celery, agent: str, handler: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, delay_s: float = 0.0,
    receipt: str = "",
) -> Letter:  # fmt: skip
    """A message to an agent.

    Args:
        app: who sends.
        agent: its name.
        handler: what it is told.
        args: for the handler.
        kwargs: likewise.
        delay_s: after how long it is due, in seconds.
        receipt: the id of its receipt; empty: it has none.

    Raises:
        ValueError: it is no name for an agent.
        kombu.exceptions.EncodeError: the arguments are not JSON.
    """
    message = receipt or raw_message.new_id()
    draft = _Timeless(app, message, {**fields_of(AGENT_TASK, app), "task_id": message} if receipt else {})
    options = {**addressed(agent, handler), "task_id": message}
    app.send_task(AGENT_TASK, (handler, *args), dict(kwargs), producer=draft, add_to_parent=False, **options)
    letter = _letter(draft, app, round(delay_s * 1000))
    return letter._replace(fields={**draft.fields, "queue": letter.queue}) if receipt else letter


def task_letter(
    app: Celery, task: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any], receipt: str
) -> Letter:
    """The message of a task, with a receipt.

    Raises:
        ConfigError: it goes to no queue, or to several.
        kombu.exceptions.EncodeError: the arguments are not JSON.
    """
    draft = _Timeless(app, receipt, {**fields_of(task, app), "task_id": receipt})
    app.send_task(task, args, dict(kwargs), producer=draft, task_id=receipt, add_to_parent=False, **options)
    letter = _letter(draft, app, 0)
    return letter._replace(fields={**draft.fields, "queue": letter.queue})


def notice_to(
    app: Celery, owner: str | Signature[Any] | None, said: Mapping[str, Any]
) -> tuple[Letter, Mapping[str, str]]:
    """A message to the owner of an agent, with a receipt; empty: there is no owner.

    Returns:
        The message, and what its receipt says.

    Raises:
        ConfigError: it goes to no queue, or to several.
    """
    if owner is None:
        return Letter("", "", b""), {}
    receipt, name = raw_message.new_id(), AGENT_TASK if isinstance(owner, str) else str(owner.task)
    draft = Draft(app, receipt, {**fields_of(name, app), "task_id": receipt})
    if isinstance(owner, str):
        options: dict[str, Any] = addressed(owner, "agent_down")
        app.send_task(name, ("agent_down", said), producer=draft, task_id=receipt, add_to_parent=False, **options)
    else:
        signature(dict(owner), app=app).apply_async((said,), producer=draft, task_id=receipt, add_to_parent=False)
    letter = _letter(draft, app, 0)
    return letter, {**draft.fields, "queue": letter.queue}


def _letter(draft: Draft, app: Celery, delay_ms: int) -> Letter:
    publication = draft.publication or draft.resolved(client_of(app))
    return Letter(publication.queue, publication.list_key, publication.raw, delay_ms)
