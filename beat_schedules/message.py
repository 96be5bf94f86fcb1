"""The message of a slot: made by Celery, with ids that follow from the slot, so that any beat makes the same ones."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from celery.beat import BeatLazyFunc

from beat_schedules.errors import ScheduleError
from hardening.agents.names import mailbox_entity
from hardening.core import raw as raw_message
from hardening.core.agent_keys import MAILBOX_HEAD
from hardening.delivery.draft import Draft
from hardening.delivery.outgoing import fields_of

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from beat_schedules.definition import Definition
    from hardening.delivery.publication import Publication

__all__ = ["SLOT_HEADER", "bare_message_of", "message_of", "slot_id"]

#: The header that tells a task which slot it runs for: ``self.request.headers`` has it.
SLOT_HEADER = "hardening_slot"

_SPACE = uuid.UUID("0d1e5a4e-9a0c-5b2e-8f43-3f0c6a2b7d11")


def slot_id(prefix: str, name: str, slot_ms: int) -> str:
    """The id of a slot's receipt and of its task."""
    return str(uuid.uuid5(_SPACE, f"{prefix}\n{name}\n{slot_ms}"))


def message_of(
    app: Celery, client: Redis, name: str, definition: Definition, *, slot_ms: int, identity: str
) -> Publication:
    """Has Celery make the message of a slot; signals fire, routes and the task's own options count.

    Args:
        app: whose task it is.
        client: is asked for routes that only Redis knows.
        name: of the entry.
        definition: of the entry.
        slot_ms: which slot, in ms.
        identity: of its receipt and its task.

    Raises:
        Exception: whatever stands in the way: arguments, routes, signals.
    """
    draft = Draft(app, identity, {**fields_of(definition.task, app), "task_id": identity})
    args, kwargs = _arguments(app, name, definition)
    headers = {**(definition.options.get("headers") or {}), "celery_beat_task": True}
    headers[SLOT_HEADER] = {"entry": name, "due_ms": slot_ms}
    options: dict[str, Any] = {**definition.options, "headers": headers, "task_id": identity, "producer": draft}
    queue = options.get("queue")
    if isinstance(queue, str) and queue.startswith(MAILBOX_HEAD):
        options["queue"] = mailbox_entity(queue)
    task = app.tasks.get(definition.task)
    if task is not None and not app.conf.task_always_eager:
        task.apply_async(args, kwargs, **options)
    else:
        app.send_task(definition.task, args, kwargs, **options)
    return draft.resolved(client)


def bare_message_of(app: Celery, name: str, definition: Definition, *, slot_ms: int, identity: str) -> Publication:
    """The message of a slot as far as it can be made without routes, signals or lazy arguments: for a dead letter."""
    draft = Draft(app, identity, fields_of(definition.task, app))
    message = app.amqp.as_task_v2(identity, definition.task, tuple(definition.args), definition.kwargs)
    queue = definition.options.get("queue")
    headers = {**message.headers, SLOT_HEADER: {"entry": name, "due_ms": slot_ms}}
    draft.publish(
        message.body, headers=headers, serializer="json", exchange="",
        routing_key=queue if isinstance(queue, str) else app.conf.task_default_queue, **message.properties,
    )  # fmt: skip
    if draft.publication is None:
        raise ScheduleError(name, f"schedule {name!r}: no message could be made")
    return draft.publication


def fresh_id() -> str:
    """The id of a message out of turn."""
    return raw_message.new_id()


def _arguments(app: Celery, name: str, definition: Definition) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if not definition.is_lazy:
        return tuple(definition.args), definition.kwargs
    entry = app.conf.beat_schedule.get(name)
    if entry is None:
        raise ScheduleError(name, f"schedule {name!r} has lazy arguments, and this beat's code does not declare it")
    kwargs = dict(entry.get("kwargs") or {})
    return tuple(_called(one) for one in entry.get("args") or ()), {key: _called(one) for key, one in kwargs.items()}


def _called(value: Any) -> Any:
    return value() if isinstance(value, BeatLazyFunc) else value
