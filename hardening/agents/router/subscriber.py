"""Who is told of a signal: a task, or a handler of an agent, and in which queue its message waits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from celery import Signature, Task
from pydantic import BaseModel, ConfigDict, Field

from hardening.core.agent_message import AGENT_TASK
from hardening.delivery.outgoing import name_of, owner_of
from hardening.delivery.recipients import Recipient

if TYPE_CHECKING:
    from celery import Celery

    from hardening.delivery.outgoing import AnyTask

__all__ = ["AnySubscriber", "Subscriber", "subscriber_of"]

_HANDLER = "on_signal"
#: Options of a signature that a subscription keeps.
_KEPT = frozenset({"queue", "priority"})

AnySubscriber = Recipient | Task | Signature | str  # type: ignore[type-arg]


class Subscriber(BaseModel):
    """Who is told: called with ``args``, then the signal's name and its payload, and with ``kwargs``.

    Attributes:
        task: the name of the task.
        queue: where it waits.
        agent: whose mailbox that is; empty: nobody's.
        args: come first; for an agent, its handler.
        kwargs: keyword arguments.
        priority: of its messages.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    task: str = Field(min_length=1)
    queue: str = Field(min_length=1)
    agent: str = ""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    priority: int = Field(default=0, ge=0, le=255)

    @property
    def key(self) -> str:
        """What tells it from others: a signal is told once to each, however many patterns match."""
        return json.dumps(self.model_dump(exclude_defaults=True), sort_keys=True)

    @property
    def handler(self) -> str:
        """Of an agent."""
        return str(self.args[0]) if self.agent and self.args else ""

    def __str__(self) -> str:
        return f"agent {self.agent}.{self.handler}" if self.agent else f"task {self.task} in {self.queue}"


def subscriber_of(
    who: AnySubscriber | AnyTask, app: Celery | None, *, handler: str, queue: str
) -> tuple[Celery, Subscriber]:
    """The subscriber that is meant, and its app.

    Raises:
        ValueError: something that makes no sense for it.
        TypeError: it is none.
        kombu.exceptions.EncodeError: its arguments are not JSON.
    """
    if isinstance(who, Recipient):
        if who.kind != "agent":
            raise TypeError(f"a subscriber is {who}, expected an agent or a task: a {who.kind} runs nothing by itself")
        if queue:
            raise ValueError(f"queue is {queue!r}, but an agent has its mailbox")
        named = Subscriber(task=AGENT_TASK, queue=who.queue, agent=who.name, args=(handler or _HANDLER,))
        return owner_of(AGENT_TASK, app or getattr(who, "app", None)), named
    if not isinstance(who, Task | Signature | str):
        raise TypeError(f"a subscriber is {who!r}, expected an agent, a task, a signature or the name of a task")
    if handler:
        raise ValueError(f"handler is {handler!r}, but {name_of(who)} is a task: only agents have handlers")
    return _task(who, owner_of(who, app), queue)


def _task(who: AnyTask, app: Celery, queue: str) -> tuple[Celery, Subscriber]:
    name, said, args, kwargs = name_of(who), {}, (), {}
    if isinstance(who, Signature):
        said, args, kwargs = dict(who.options), tuple(who.args), dict(who.kwargs)
        if who.immutable:
            raise ValueError(f"{name} is an immutable signature, but a subscriber is given the signal: use .s()")
        if unknown := sorted(set(said) - _KEPT):
            raise ValueError(f"a signature with {', '.join(unknown)} cannot be a subscriber, only with queue, priority")
    task: Any = who if isinstance(who, Task) else app.tasks.get(name)
    priority = said.get("priority") or getattr(task, "priority", None) or 0
    where = queue or said.get("queue") or _queue_of(app, name, task)
    return app, Subscriber(
        task=name, queue=getattr(where, "name", where), args=tuple(json.loads(json.dumps(args))),
        kwargs=json.loads(json.dumps(kwargs)), priority=priority,
    )  # fmt: skip


def _queue_of(app: Any, name: str, task: Any) -> str:
    """Where the routes of the subscriber's app lead: an emitter need not know them."""
    options = {key: value for key, value in (task._get_exec_options() if task else {}).items() if value is not None}  # noqa: SLF001 - Celery's own way to a task's queue
    routed = app.amqp.router.route(options, name, (), {}, task)
    queue = routed.get("queue") or (None if routed.get("exchange") else app.amqp.default_queue)
    if queue is None:
        raise ValueError(f"where the exchange of {name} leads only Redis knows: name its queue with queue=")
    return str(getattr(queue, "name", queue))
