"""The task that runs here, as the owner of what it monitors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from celery import signals
from celery._state import get_current_task

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Running", "running_task", "tell_of_ends"]


class Running(NamedTuple):
    """A task that runs in this thread.

    Attributes:
        id: of the task; empty: none runs.
        name: of the task.
    """

    id: str = ""
    name: str = ""


def running_task() -> Running:
    """The task that runs in this thread, or green thread; not one that is merely called as a function."""
    task: Any = get_current_task()  # Celery's proxies cost as much as all else that a monitor needs
    request = task.request_stack.top if task else None
    if not request or not request.id or request.called_directly:
        return Running()
    return Running(str(request.id), str(task.name))


_told: list[Callable[[str], None]] = []


def tell_of_ends(callback: Callable[[str], None]) -> None:
    """Calls back with the id of each task that ends in this process, however it does, in its own thread. Idempotent.

    Celery's signal is connected when this is first called, so that a process in which no task monitors anything pays
    nothing; what kills the process is not told here, the lease of its process ends the monitors then.
    """
    if callback not in _told:
        _told.append(callback)
        signals.task_postrun.connect(_ended, weak=False, dispatch_uid="hardening.monitors")


def _ended(task_id: str | None = None, **_: Any) -> None:
    for callback in _told:
        callback(str(task_id))


# A child that is forked in the middle of a task, and ends it in its own way, must not end the parent's monitors.
os.register_at_fork(after_in_child=_told.clear)
