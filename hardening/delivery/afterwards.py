"""What Celery says after a publication, kept back for who publishes later than Celery thinks.

Celery's sender hands a message to a producer, and as soon as that returns says so: ``after_task_publish``,
``task_sent``, the event ``task-sent``. In an event loop the producer can only take the message down there; it is
published when Celery's code, which cannot be awaited, has returned. So what Celery says in between goes to the
producer, which repeats it, word for word, once it is true.

Guarantees: nothing else that is sent meanwhile in the same context, as by a router or a receiver of
``before_task_publish``, is kept back.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery.app.amqp import AMQP

__all__ = ["KEPT_BACK", "Later", "keep_back"]

#: What Celery's sender calls to say it: variables of the function that makes it.
KEPT_BACK = ("send_after_publish", "send_task_sent")


class Later:
    """A producer that publishes later than Celery thinks."""

    def keep_back(self, say: Callable[[], object]) -> None:
        """Keeps what Celery wants to say of the message that it has just handed over."""
        raise NotImplementedError


_later: ContextVar[Later | None] = ContextVar("hardening_later", default=None)


def _unless_later(say: Callable[..., Any]) -> Callable[..., Any]:
    def said(*args: Any, **facts: Any) -> Any:
        later = _later.get()
        if later is None:
            return say(*args, **facts)
        later.keep_back(partial(say, *args, **facts))
        return []

    return said


class _KeepsBack:
    """What an app asks to publish messages."""

    def _create_task_sender(self) -> Callable[..., Any]:
        send = super()._create_task_sender()  # type: ignore[misc]
        names, cells = send.__code__.co_freevars, send.__closure__ or ()
        for name, cell in zip(names, cells, strict=True):
            if name in KEPT_BACK:
                cell.cell_contents = _unless_later(cell.cell_contents)

        def send_through(producer: Any, *args: Any, **options: Any) -> Any:
            later = producer if isinstance(producer, Later) else None
            if later is _later.get():  # nobody, as a rule
                return send(producer, *args, **options)
            token = _later.set(later)
            try:
                return send(producer, *args, **options)
            finally:
                _later.reset(token)

        return send_through


def keep_back(amqp: AMQP) -> None:
    """Has what is said after a publication go through :class:`Later` producers. Once for an app, before it sends."""
    amqp.__class__ = type("PatientAMQP", (_KeepsBack, type(amqp)), {})
    vars(amqp).pop("send_task_message", None)
