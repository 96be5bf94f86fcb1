"""What an error context costs those who only enter and leave it."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from celery import Celery

from hardening.context import error_context
from tests.counting import calls_of
from tests.forked import forked

if TYPE_CHECKING:
    import pytest


def test_entering_and_leaving_costs_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few calls, counted, for a clock would tell of the machine; also in a task, and where somebody traces."""
    app = Celery("context", broker="memory://", set_as_current=False)

    def once() -> None:
        with error_context("op", order=17):
            pass

    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "opentelemetry.trace", raising=False)
        assert calls_of(once) <= 23

        @app.task(shared=False)
        def in_task() -> int:
            once()  # the first reads what came along: nothing
            return calls_of(once)

        assert in_task.apply().get() <= 30
    importlib.import_module("opentelemetry.trace")
    assert calls_of(once) <= 32
    app.close()


def test_ids_of_children_are_their_own() -> None:
    """Though they are drawn by chance."""

    def drawn() -> str:
        with error_context() as here:
            return here.correlation_id

    reads, writes = os.pipe()
    assert forked(lambda: os.write(writes, drawn().encode())) == 0
    assert os.read(reads, 100).decode() != drawn()
    os.close(reads)
    os.close(writes)
