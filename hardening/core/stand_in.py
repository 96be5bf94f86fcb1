"""Who publishes for an app in place of the producers of its pool, for the length of a block.

Celery sends a canvas through many hands, and not all of them pass on the producer that they are given. So it is put
where they all look: into the pool.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from celery import Celery

__all__ = ["StandIn", "stand_in_for", "standing_in"]

_current: ContextVar[tuple[Celery, Any] | None] = ContextVar("hardening_stand_in", default=None)


class StandIn:
    """Looks like a pool of producers, and has but the one.

    Args:
        producer: what is handed out.
        pool: the real one, asked for everything else.
    """

    def __init__(self, producer: Any, pool: Any) -> None:
        self._producer = producer
        self._pool = pool

    def acquire(self, *_: Any, **__: Any) -> AbstractContextManager[Any]:
        """The producer; there is nothing to give back."""
        return nullcontext(self._producer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


@contextmanager
def standing_in(app: Celery, producer: Any) -> Iterator[None]:
    """Has a producer stand in for those of an app in this context; None: nobody does."""
    token = _current.set(None if producer is None else (app, producer))
    try:
        yield
    finally:
        _current.reset(token)


def stand_in_for(app: Celery) -> Any:
    """Who stands in for the producers of an app here, if anybody does."""
    current = _current.get()
    return current[1] if current is not None and current[0] is app else None
