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

from contextvars import ContextVar, copy_context
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from celery import _state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celery.app.amqp import AMQP
    from celery.app.task import Context

    Packer = Callable[[], Any]

__all__ = ["carry", "header_of", "let_travel", "outgoing", "received", "register", "requests"]

P = ParamSpec("P")
R = TypeVar("R")

#: The requests of the tasks for which this thread works.
_carried: ContextVar[tuple[Context, ...]] = ContextVar("hardening_carried", default=())
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
    return {header: value for header, pack in _packers if (value := pack()) is not None}


def requests() -> Sequence[Context]:
    """The requests of the tasks that a worker, or ``apply``, runs here, the innermost first.

    Here is this thread or green thread, in whichever pool. Tasks that others call as plain functions are part of those.
    """
    carried, tasks = _carried.get(), _tasks_here()
    if not tasks:
        return carried
    if len(tasks) == 1 and len(stack := _items(tasks[0].request_stack)) == 1:  # as mostly, and as quick as can be
        running = stack[0]
        if running.called_directly:
            return carried
        return (running, *carried) if carried else (running,)
    found = [
        request
        for task in reversed(tasks)
        for request in reversed(_items(task.request_stack))
        if not request.called_directly
    ]
    return (*found, *carried)


def received(header: str) -> Any:
    """What came along under a header with the task that runs here, or the one around it; None: nothing.

    It is whatever somebody put into a message: check it, bound it, and do not raise because of it.
    """
    found = (header_of(request, header) for request in requests())
    return next((value for value in found if value is not None), None)


def header_of(request: Context, header: str) -> Any:
    """What came along under a header with one task; None: nothing."""
    headers: Any = request.headers
    return headers.get(header) if isinstance(headers, dict) else None


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Has a function that another thread runs see what is seen here, now: context variables, and the task that runs.

    For ``Thread(target=carry(work))`` and ``executor.submit(carry(work), ...)``. Any number of threads may run it.
    """
    here = copy_context()
    here.run(_carried.set, tuple(requests()))

    @wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        return here.copy().run(function, *args, **kwargs)

    return carried


def _items(stack: Any) -> Sequence[Any]:
    """What is on one of Celery's stacks in this thread.

    Celery's own way raises and catches an error where there is nothing, which takes longer than all else here.
    """
    local = getattr(stack, "_local", None)
    if local is None:  # USE_FAST_LOCALS
        return stack.stack  # type: ignore[no-any-return]
    here = local.__storage__.get(local.__ident_func__())
    return here["stack"] if here else ()


def _lookup() -> Callable[[], Sequence[Any]]:
    """How to find the tasks that run in this thread, of which mostly there is none."""
    tasks: Any = vars(_state)["_task_stack"]
    local = getattr(tasks, "_local", None)
    if local is None:
        return lambda: _items(tasks)
    find, ident = local.__storage__.get, local.__ident_func__
    nothing: dict[str, Sequence[Any]] = {"stack": ()}
    return lambda: find(ident(), nothing)["stack"]


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
