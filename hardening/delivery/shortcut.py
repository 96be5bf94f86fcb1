"""The short way to a plain message.

``Task.apply_async`` and ``Celery.send_task`` serve every kind of task and of option, and a send passes through all
of it. For a task that is sent as it is, from outside any other task, little of that applies: this module does the
rest, step for step as Celery 5.7 does, with Celery's own router, message builder, sender and signals. Whatever is
not plain goes the long way; a test compares the messages of both.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

from celery import Task, signals
from celery.app import base as celery_base
from celery.app import task as celery_task
from celery.app.routes import MapRoute, Router

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["is_plain", "is_uniform", "is_watched", "send_plain", "send_sample"]

#: The options that this knows what to do with.
_KNOWN = frozenset({"task_id", "headers", "queue", "priority", "countdown", "eta", "serializer", "compression"})

#: What fires around a publication.
_PUBLICATION = (signals.before_task_publish, signals.after_task_publish, signals.task_sent)
#: Options that are no business of the router.
_FOR_THE_MESSAGE = ("task_id", "countdown", "eta", "expires", "time_limit", "soft_time_limit")


def is_plain(task: Any, app: Any, options: Mapping[str, Any]) -> bool:
    """Whether the short way leads to the same message as the long one.

    Not when somebody, such as a tracer, has put a function of their own in the place of Celery's: it is called.
    """
    if not isinstance(task, Task):
        return False
    cls: Any = task.__class__  # the task may be a proxy for one that is not bound yet
    return (
        task.app is app
        and _KNOWN.issuperset(options)
        and task.expires is None
        and not cls.__v2_compat__
        and cls._dump_pydantic_arguments is None
        and _is_celerys(cls.apply_async, celery_task)
        and _is_celerys(type(app).send_task, celery_base)
        and "apply_async" not in task.__dict__
        and "send_task" not in vars(app)
        and app.current_worker_task is None
        and not app.conf.task_always_eager
    )


def is_uniform(task: Any, app: Any) -> bool:
    """Whether messages of a plain task differ in nothing but their ids and arguments, and nobody looks at each.

    Not when somebody listens to their publication: signals, Celery's own events.
    """
    routes: Any = app.amqp.router.routes
    return (
        not is_watched()
        and not app.conf.task_send_sent_event
        and task.__class__.shadow_name is Task.shadow_name
        and "shadow_name" not in task.__dict__
        and type(app.amqp.router) is Router
        and all(type(route) is MapRoute for route in routes)
    )


def is_watched() -> bool:
    """Whether somebody wants to see each message: tracers may begin to at any time."""
    return any(signal.receivers for signal in _PUBLICATION)


def _is_celerys(function: Any, module: Any) -> bool:
    """Whether it is no wrapper: those of tracers may look like what they wrap, but for their type."""
    return type(function) is FunctionType and function.__code__.co_filename == module.__file__


def send_plain(
    task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any], producer: Any
) -> object:
    """Sends a task through a producer, as ``task.apply_async(args, kwargs, producer=producer, **options)`` would.

    Args:
        task: a plain one, see :func:`is_plain`.
        args: positional arguments.
        kwargs: keyword arguments.
        options: of the publication, with ``task_id``.
        producer: publishes the message.

    Returns:
        Whatever the producer said.

    Raises:
        TypeError: the task does not take these arguments.
    """
    if task.typing:
        task.__header__(*args, **kwargs)
    app: Any = task.app
    message, routed = _made(task, args, kwargs, options, None if args else "()", None if kwargs else "{}")
    if not task.ignore_result:
        app.backend.on_task_call(producer, options["task_id"])
    sent: object = app.amqp.send_task_message(producer, task.name, message, **routed)
    return sent


def send_sample(task: Any, options: dict[str, Any], producer: Any, reprs: tuple[str, str]) -> None:
    """Sends what has no arguments yet, as a sample for others.

    Args:
        task: a plain one, see :func:`is_plain`.
        options: of the publication, with ``task_id``.
        producer: keeps the message.
        reprs: what the headers say of the arguments.
    """
    message, routed = _made(task, (), {}, options, *reprs)
    task.app.amqp.send_task_message(producer, task.name, message, **routed)


def _made(
    task: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: dict[str, Any],
    argsrepr: str | None,
    kwargsrepr: str | None,
) -> tuple[Any, dict[str, Any]]:
    """The message, and where it goes."""
    app: Any = task.app
    amqp = app.amqp
    shadow = task.shadow_name(args, kwargs, options)
    merged = {**task._get_exec_options(), **options}
    ours = {name: merged.pop(name, None) for name in _FOR_THE_MESSAGE}
    routed = amqp.router.route(merged, task.name, args, kwargs, task)
    message = amqp.create_task_message(
        name=task.name, args=args, kwargs=kwargs, shadow=shadow, ignore_result=task.ignore_result,
        reply_to=app.thread_oid, create_sent_event=app.conf.task_send_sent_event,
        argsrepr=argsrepr, kwargsrepr=kwargsrepr, **ours, **routed,
    )  # fmt: skip
    return message, routed
