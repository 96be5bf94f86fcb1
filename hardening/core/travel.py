"""What travels along with every message that is sent from inside a task or a context.

A room that has something to carry, such as a deadline, registers under which header, and how it is packed. What is
packed is put into the headers of every message an app publishes, whichever way it is sent: also of those that Celery
sends by itself, such as retries and the next part of a chain. Nothing is restored around a task, which would cost
each task something: whoever wants to know looks into the headers of the request that runs here, and only then.

Headers survive stock producers and workers: those pass by what they do not know.

Guarantees: with nothing to carry, a send pays for one look at each registered packer.
Does not guarantee: that headers are what a packer packed. Whoever reads them must expect anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import _state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery.app.amqp import AMQP
    from celery.app.task import Context

    Packer = Callable[[], Any]

__all__ = ["let_travel", "outgoing", "received", "register", "requests"]

_packers: tuple[tuple[str, Packer], ...] = ()


def register(header: str, pack: Packer) -> None:
    """Has something travel from now on, in this process; registering a header again replaces its packer.

    Args:
        header: its name, ``hardening_`` first. No two rooms share one.
        pack: called in the thread that sends, for each message or for each chunk of many: what is to go along, as JSON
            of a bounded size; None: nothing. It must be quick, and must not raise.
    """
    global _packers  # noqa: PLW0603 - whoever iterates over the old one meanwhile may
    _packers = (*(one for one in _packers if one[0] != header), (header, pack))


def outgoing() -> dict[str, Any]:
    """The headers that go along with a message sent from here, now; empty: none."""
    headers = {}
    for header, pack in _packers:
        if (value := pack()) is not None:
            headers[header] = value
    return headers


def requests() -> Iterator[Context]:
    """The requests of the tasks that a worker, or ``apply``, runs here, the innermost first.

    Here is this thread or green thread, in whichever pool. Tasks that others call as plain functions are part of those.
    """
    for task in reversed(_tasks_here() or ()):
        for request in reversed(task.request_stack.stack):
            if not request.called_directly:
                yield request


def received(header: str) -> Any:
    """What came along under a header with the task that runs here, or the one around it; None: nothing.

    It is whatever somebody put into a message: check it, bound it, and do not raise because of it.
    """
    for request in requests():
        headers: Any = request.headers
        if isinstance(headers, dict) and headers.get(header) is not None:
            return headers[header]
    return None


def _lookup() -> Callable[[], list[Any] | None]:
    """How to find the stack of tasks that run in this thread.

    Celery's own way raises and catches an error where there is none, which takes longer than all else here.
    """
    stack: Any = vars(_state)["_task_stack"]
    local: Any = getattr(stack, "_local", None)
    if local is None:  # USE_FAST_LOCALS
        return lambda: stack.stack
    storage, ident = local.__storage__, local.__ident_func__

    def tasks_here() -> list[Any] | None:
        found = storage.get(ident())
        return found and found.get("stack")  # type: ignore[no-any-return]

    return tasks_here


_tasks_here = _lookup()


class _LetsTravel:
    """What an app asks to make messages, with what goes along."""

    def _create_task_sender(self) -> Callable[..., Any]:
        send = super()._create_task_sender()  # type: ignore[misc]

        def send_along(*args: Any, **options: Any) -> Any:
            if carried := outgoing():
                options["headers"] = {**(options.get("headers") or {}), **carried}  # a retry brings those of before
            return send(*args, **options)

        return send_along


def let_travel(amqp: AMQP) -> None:
    """Has what travels go along with all that an app sends. Runs once for an app, before anything is published."""
    amqp.__class__ = type("TravellingAMQP", (_LetsTravel, type(amqp)), {})
    vars(amqp).pop("send_task_message", None)
