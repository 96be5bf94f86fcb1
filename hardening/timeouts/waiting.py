"""Waiting for results without a timeout: the timeout is that of the table.

Celery's results wait for ever where nobody says how long. :func:`bound_waits` puts functions around
``AsyncResult.get``, and ``get``, ``join`` and ``join_native`` of result sets, once for the process, since results are
made in many places that no app is asked about; results of apps that are not hardened pass through.

Does not guarantee: that a wait ends on time while the result backend itself hangs: that is for its socket timeouts.
"""

from __future__ import annotations

import functools
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

from celery.result import AsyncResult, EagerResult, ResultSet

from hardening.core import telemetry
from hardening.core.deployment import is_hardened, settings_of
from hardening.core.errors import HardeningWarning
from hardening.timeouts.deadline import remaining
from hardening.timeouts.errors import UnboundedWait
from hardening.timeouts.events import WaitBounded
from hardening.timeouts.lookup import timeout_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from celery import Celery

__all__ = ["GET", "JOIN", "bound_waits"]

#: The names under which such a wait is looked up.
GET, JOIN = "celery.result.get", "celery.result.join"
#: Whose lines are not the caller's.
_INSIDE = ("celery.", "hardening.timeouts.waiting", "kombu.")
#: How many lines are remembered as warned about; further ones are not told.
_MOST_LINES = 1000

_bounded = threading.local()
_warned: set[tuple[str, str]] = set()


def bound_waits() -> None:
    """Bounds the waits of this process. Idempotent."""
    for owner, names, operation in (
        (AsyncResult, ("get", "wait"), GET),
        (ResultSet, ("get", "join", "join_native"), JOIN),
    ):
        for name in names:
            if not hasattr(vars(owner)[name], "__wrapped__"):
                setattr(owner, name, _bound(getattr(owner, name), operation))


def _bound(wait: Callable[..., Any], operation: str) -> Callable[..., Any]:
    @functools.wraps(wait)
    def bounded(self: Any, timeout: float | None = None, *args: Any, **options: Any) -> Any:
        if getattr(_bounded, "depth", 0) and _is_celerys(sys._getframe(1)):  # part of a wait that has its timeout
            return wait(self, timeout, *args, **options)
        app = getattr(self, "app", None)
        if timeout is None and app is not None and is_hardened(app) and not _is_here(self):
            timeout = _timeout_for(app, operation, sys._getframe(1))
        _bounded.depth = getattr(_bounded, "depth", 0) + 1
        try:
            return wait(self, timeout, *args, **options)
        finally:
            _bounded.depth -= 1

    return bounded


def _is_here(result: Any) -> bool:
    """Whether nothing needs to be waited for, as far as this process knows: nobody else is asked.

    So it is with all that ran where it was called, which Celery itself joins to run the body of a chord. A set of
    others asks its backend even for what each of them has.
    """
    if isinstance(result, ResultSet):
        return all(isinstance(one, EagerResult | ResultSet) and _is_here(one) for one in result.results or ())
    return bool(result._cache)


def _timeout_for(app: Celery, operation: str, frame: FrameType) -> float | None:
    """What is in force where nobody said a timeout; None: nothing.

    Raises:
        UnboundedWait: it is not allowed.
    """
    policy = settings_of(app).unbounded_get
    if policy == "raise":
        raise UnboundedWait(operation)
    seconds = timeout_for(operation, app=app)
    left_s = remaining()
    seconds = seconds if left_s is None else min(seconds, left_s)
    _warn(operation, frame, seconds if policy == "enforce" else 0.0)
    return seconds if policy == "enforce" else None


def _warn(operation: str, frame: FrameType, seconds: float) -> None:
    """Says once for each line that it waits without a timeout."""
    caller: FrameType | None = frame
    while caller is not None and _is_celerys(caller):
        caller = caller.f_back
    if caller is None:
        return
    file, line = caller.f_code.co_filename, caller.f_lineno
    place = f"{file}:{line}"
    if (operation, place) in _warned or len(_warned) >= _MOST_LINES:
        return
    _warned.add((operation, place))
    telemetry.emit(WaitBounded(operation=operation, line=place, timeout_s=seconds))
    what = f"it waits {seconds:g} s, as the table has it" if seconds else "it may wait for ever"
    text = f"{place} waits for a result without a timeout ({operation}): {what}; pass timeout="
    module = caller.f_globals.get("__name__", "?")
    warnings.warn_explicit(text, HardeningWarning, file, line, module=module)


def _is_celerys(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(_INSIDE)
