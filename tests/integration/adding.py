"""A task that adds, for tests that send it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["add_of"]


def add_of(app: Celery) -> Any:
    """A task of an app."""

    @app.task(name="add", shared=False)
    def add(x: int, y: int = 0) -> int:
        return x + y

    return add
