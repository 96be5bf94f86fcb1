"""``@app.task(boundary="network")``: a task that runs inside a boundary, and is retried by Celery."""

from __future__ import annotations

import difflib
import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any

from hardening.boundaries.boundary import Boundary, boundary_named
from hardening.boundaries.errors import BoundaryError
from hardening.boundaries.events import BoundaryRetried
from hardening.boundaries.kinds import KINDS
from hardening.boundaries.retry import RetryStrategy
from hardening.core import telemetry
from hardening.core.errors import ConfigError

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["give_boundaries"]

_MARK = "_hardening_boundary"
#: A worker does not wait, so there is more time than within a call.
_STRATEGY = RetryStrategy(base_s=1.0, cap_s=300.0, retry_after_cap_s=3600.0)


def give_boundaries(app: Any) -> None:
    """Has tasks with the option ``boundary`` run inside one, from when they are bound.

    What fails there in a way that may be over in a moment is retried by Celery, up to the task's ``max_retries``, with
    the pauses of a :class:`RetryStrategy` and out of the budget of its process; then, and whatever else failed, the
    task fails with the ``BoundaryError``.
    """
    bind = app.Task.bind.__func__

    def bind_with_boundary(cls: Any, to: Celery) -> Any:
        if (name := getattr(cls, "boundary", None)) is not None:
            _put_inside(cls, _named(name, cls.name))
        return bind(cls, to)

    app.Task.bind = classmethod(bind_with_boundary)


def _named(name: object, task: str) -> Boundary:
    boundary = boundary_named(name) if isinstance(name, str) else None
    if boundary is None:
        near = difflib.get_close_matches(str(name), KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(KINDS)}"
        raise ConfigError(f"boundary of task {task} is {name!r}, {hint}")
    return boundary


def _put_inside(cls: Any, boundary: Boundary) -> None:
    inner = inspect.getattr_static(cls, "run")
    if hasattr(inner, _MARK):
        return

    @wraps(cls.run)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        if not request.retries:
            _STRATEGY.budget.deposit()
        try:
            with boundary:
                return inner.__get__(self, type(self))(*args, **kwargs)
        except BoundaryError as error:
            spent = self.max_retries is not None and request.retries >= self.max_retries
            if request.called_directly or spent or not _STRATEGY.allows(error):
                raise
            pause_s = _STRATEGY.pause_s(request.retries + 1, error)
            attempt = request.retries + 1
            telemetry.emit(BoundaryRetried(category=error.category, attempt=attempt, pause_s=pause_s, error=str(error)))
            raise self.retry(exc=error, countdown=pause_s) from error

    setattr(run, _MARK, boundary.category)
    cls.run = run
