"""A deadline that travels: by when what was asked for must be there, through every hop of calls.

A block sets it, and every message that is sent in the block carries it in a header, as a time of Redis. The worker that
takes such a message turns it into a time of its own boot clock, by what Redis said at its last take; the task, and
what the task sends, goes on from there. So no process compares its wall clock with that of another.

Work whose deadline has passed before it was begun is buried as ``expired``. Work that runs is not interrupted by
its deadline: that is what time limits are for.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from celery import _state

from hardening.core import travel
from hardening.core.membership import boot_clock_s
from hardening.core.payload import DEADLINE_HEADER
from hardening.timeouts.clock import clock_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celery import Celery
    from celery.app.task import Context

__all__ = ["DUE_PROPERTY", "deadline", "deadline_in", "remaining"]

#: Where a worker tells the task when that is by the boot clock of its machine. Properties, unlike headers, do not
#: travel on with retries, and so never to another machine.
DUE_PROPERTY = "hardening_due_s"
#: What is later than that is no deadline, but damage: the year 2286.
_LATEST_MS = 10_000_000_000_000

#: When the innermost block ends, by the boot clock, and which app's Redis it is for.
_block: ContextVar[tuple[float, Celery] | None] = ContextVar("hardening_deadline", default=None)


@contextmanager
def deadline(seconds: float, *, app: Celery | None = None) -> Iterator[None]:
    """Sets a deadline for all that is sent in the block; inside an earlier one, the earlier one stays.

    The first one in a process asks Redis what time it is, once, and waits for that up to half a second.

    Args:
        seconds: how long there is from now.
        app: a hardened app, by whose Redis the deadline is told; default: the current one.

    Raises:
        ValueError: it is no number of seconds, or not one to wait for.
        ConfigError: the app is not hardened.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        raise ValueError(f"a deadline is in {seconds!r}, expected 0 seconds or more")
    owner: Celery = app or _state.get_current_app()
    clock_of(owner).prepare()
    due_s, outer_s = boot_clock_s() + seconds, _due_s()
    token = _block.set((due_s if outer_s is None else min(due_s, outer_s), owner))
    try:
        yield
    finally:
        _block.reset(token)


def remaining() -> float | None:
    """How much time is left until the deadline, in seconds, never less than 0; None: there is no deadline.

    In a task this is what its caller gave it; in a block of :func:`deadline`, what is left of that, if it is less.
    """
    due_s = _due_s()
    return None if due_s is None else max(0.0, due_s - boot_clock_s())


def deadline_in(headers: Mapping[str, Any]) -> int | None:
    """The deadline in a message's headers, ms by the clock of Redis; None: there is none that makes sense."""
    value = headers.get(DEADLINE_HEADER)
    return value if type(value) is int and 0 < value < _LATEST_MS else None


def _due_s() -> float | None:
    """When it is over, by the boot clock of this machine."""
    block = _block.get()
    task = _of_task()
    if task is None:
        return None if block is None else block[0]
    return task[0] if block is None else min(task[0], block[0])


def _of_task() -> tuple[float, int] | None:
    """The deadline of the task that runs here: by the boot clock, and by that of Redis."""
    for request in travel.requests():
        headers: Any = request.headers
        ms = deadline_in(headers) if isinstance(headers, dict) else None
        if ms is not None:
            return _due_of(request, ms), ms
    return None


def _due_of(request: Context, ms: int) -> float:
    properties: Any = request.properties
    due_s = properties.get(DUE_PROPERTY) if isinstance(properties, dict) else None
    if isinstance(due_s, float):
        return due_s
    clock = clock_of(_state.get_current_app())  # no worker of ours has taken it
    clock.prepare()
    return boot_clock_s() + (ms - clock.now_ms()) / 1000


def _packed() -> int | None:
    """What goes along with a message: the time of Redis by which it must be begun."""
    block, task = _block.get(), _of_task()
    if task is not None:
        due_s, ms = task
        return ms if block is None or block[0] >= due_s else ms - round((due_s - block[0]) * 1000)
    if block is None:
        return None
    due_s, app = block
    return clock_of(app).now_ms() + round((due_s - boot_clock_s()) * 1000)


travel.register(DEADLINE_HEADER, _packed)
