"""The error context of whatever runs here.

It is held by a :class:`~contextvars.ContextVar`, so it follows threads, green threads and coroutines as Python has
them follow. A task that a worker runs has none of its own to begin with: what came along in its message is read when
somebody asks for it, and kept with Celery's request, so that it ends with the task.

Contexts do not change: entering a block or dropping a breadcrumb makes another one, so that what runs at once does not
mix.
"""

from __future__ import annotations

import os
import random
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hardening.context.keyword import adopted, warn_of
from hardening.context.shown import add_note_to, annotate_span
from hardening.core import travel
from hardening.core.context_header import HEADER, MOST_BREADCRUMBS, bounded_context, read_context

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from celery.app.task import Context

__all__ = ["Breadcrumb", "ErrorContext", "breadcrumb", "current", "error_context", "pack"]

#: Where a task's request keeps what came along with it; False: nothing did.
_KEPT = "_hardening_error_context"
#: With spans to be annotated, whoever traces has imported this.
_TRACING = "opentelemetry.trace"


class Breadcrumb(NamedTuple):
    """Something that happened on the way.

    Attributes:
        text: what.
        fields: what else was said of it.
    """

    text: str
    fields: Mapping[str, Any] = {}


class ErrorContext(NamedTuple):
    """What is being done.

    Attributes:
        correlation_id: the same for all that follows from one beginning, across processes.
        operation: what is being done; empty: nobody said.
        fields: what was said of it, here and in the blocks around.
        breadcrumbs: what happened on the way, the newest last, 20 at most.
    """

    correlation_id: str
    operation: str = ""
    fields: Mapping[str, Any] = {}
    breadcrumbs: tuple[Breadcrumb, ...] = ()

    def packed(self) -> dict[str, Any]:
        """This as bounded JSON."""
        return bounded_context(*self)


#: Of nobody else's seed, nor of a parent's; it tells apart, and keeps no secret.
_chance = random.Random()  # noqa: S311
os.register_at_fork(after_in_child=_chance.seed)
#: Makes a named tuple at half of what its own constructor costs.
_tuple = tuple.__new__
_here: ContextVar[ErrorContext | None] = ContextVar("hardening_error_context", default=None)


def current() -> ErrorContext | None:
    """The error context here; None: there is none.

    Any thread may ask. A task has that of its message, unless it made one of its own.

    Raises:
        DeprecationWarning: the context came in a keyword argument, and warnings are errors here.
    """
    return _here.get() or _came_along()


class error_context:  # noqa: N801 - reads as a word: with error_context(...)
    """Says what is being done, for as long as the block runs; blocks nest.

    The context travels with all that is sent inside, is noted on the exception that leaves the block, and is put on
    the span of OpenTelemetry, if one is recorded. Secrets (``hardening_redact``) are masked wherever it is shown;
    in the message itself they are not.

    Breadcrumbs that were dropped inside stay for the blocks around. One instance serves one block at a time.

    Args:
        operation: what is being done; default: as around.
        correlation_id: follows all that comes of this; default: as around, or a new one. Cut at 100 characters.
        **fields: anything that helps whoever looks for the fault. What is no JSON is shown as its ``str``.

    Returns:
        The context, when entered.
    """

    __slots__ = ("_around", "_begin", "_correlation_id", "_fields", "_operation")

    def __init__(self, operation: str = "", *, correlation_id: str | None = None, **fields: Any) -> None:
        self._operation = operation
        self._correlation_id = correlation_id
        self._fields = fields

    def __enter__(self) -> ErrorContext:
        self._around = around = _here.get()
        begin = around or _came_along()
        if begin is None:
            told: tuple[Any, ...] = (self._correlation_id or _new_id(), self._operation, self._fields, ())
        else:
            identity, operation, fields, crumbs = begin
            told = (self._correlation_id or identity, self._operation or operation, {**fields, **self._fields}, crumbs)
        entered = _tuple(ErrorContext, told)
        self._begin = entered
        _here.set(entered)
        if _TRACING in sys.modules:
            annotate_span(entered.packed)
        return entered

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        left = _here.get() or self._begin
        if error is not None and isinstance(error, Exception):
            add_note_to(error, left.packed)
        _here.set(self._around)
        if left.breadcrumbs is not self._begin.breadcrumbs:
            _hold(left.breadcrumbs)


def breadcrumb(text: str, **fields: Any) -> None:
    """Says what happened on the way; it is seen where something goes wrong later.

    Where there is no context, and no task, nobody would ever see it, and it is forgotten.

    Args:
        text: what happened.
        **fields: what else there is to say.
    """
    here = current()
    _hold(((*here.breadcrumbs, Breadcrumb(text, fields)) if here else (Breadcrumb(text, fields),))[-MOST_BREADCRUMBS:])


def _hold(breadcrumbs: tuple[Breadcrumb, ...]) -> None:
    """Has what is here have these breadcrumbs."""
    if (here := _here.get()) is not None:
        _here.set(here._replace(breadcrumbs=breadcrumbs))
    elif running := travel.requests():
        came = _came_along() or ErrorContext(_new_id())
        vars(running[0])[_KEPT] = came._replace(breadcrumbs=breadcrumbs)


def _came_along() -> ErrorContext | None:
    """What came along with the task that runs here, or the one around it."""
    for request in travel.requests():
        kept: ErrorContext | Literal[False] | None = request.__dict__.get(_KEPT)
        if kept is None:
            read = _read(request)
            kept = vars(request)[_KEPT] = False if read is None else read
            if read is not None and _TRACING in sys.modules:
                annotate_span(read.packed)
        if isinstance(kept, ErrorContext):
            return kept
    return None


def _read(request: Context) -> ErrorContext | None:
    """What a message carries: in its header, or in the old way."""
    read = read_context(travel.header_of(request, HEADER))
    if read is not None:
        crumbs = tuple(Breadcrumb(one["text"], one["fields"]) for one in read["breadcrumbs"])
        return ErrorContext(read["correlation_id"], read["operation"], read["fields"], crumbs)
    if (said := adopted(request)) is None:
        return None
    identity, operation, fields = said
    vars(request)[_KEPT] = ErrorContext(identity or _new_id(), operation, fields)
    warn_of(request)  # which may be an error here, but once
    return vars(request)[_KEPT]  # type: ignore[no-any-return]


def _new_id() -> str:
    return _chance.randbytes(16).hex()  # as the trace ids of W3C are


def pack() -> dict[str, Any] | None:
    """What goes along with what is sent from here, see :mod:`hardening.core.travel`."""
    if (here := _here.get()) is None:
        if not travel.requests():
            return None  # as mostly, and as quick as can be
        here = _came_along()
    return here and here.packed()
