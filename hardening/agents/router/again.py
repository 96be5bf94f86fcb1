"""The task that emits signals which could not be emitted at once, because Redis was away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardening.agents.router.emitting import EMIT_TASK, emit_again
from hardening.core.scripts.signalling import Number

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["give_emit"]


def give_emit(app: Celery) -> None:
    """Has the workers of an app know the task."""

    @app.task(name=EMIT_TASK, shared=False, ignore_result=True)
    def emit(signal: str, payload: Any, emitter: str, number: int) -> int:
        """Emits a signal, unless an attempt whose answer was lost had done so; returns how many got it."""
        return emit_again(app, signal, payload, Number(emitter, number)).routed
