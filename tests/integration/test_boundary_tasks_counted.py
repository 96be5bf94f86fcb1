"""What tasks inside a boundary ask of their strategy: once for each call, and a longer pause for each retry."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hardening.boundaries import BoundaryError, tasks
from hardening.core import telemetry
from tests.conftest import SERVERS

if TYPE_CHECKING:
    from celery import Celery

pytestmark = [pytest.mark.skipif(not SERVERS, reason="no Redis server on this machine"), pytest.mark.one_server]


class _Strategy:
    """Allows everything, and notes what it was asked."""

    def __init__(self) -> None:
        self.deposits = 0
        self.retries: list[int] = []
        self.budget = SimpleNamespace(deposit=self._deposit)

    def _deposit(self) -> None:
        self.deposits += 1

    def allows(self, _error: BoundaryError) -> bool:
        return True

    def pause_s(self, retry: int, _error: BoundaryError) -> float:
        self.retries.append(retry)
        return 0.0


@pytest.fixture
def strategy(monkeypatch: pytest.MonkeyPatch) -> _Strategy:
    """That of every task."""
    strategy = _Strategy()
    monkeypatch.setattr(tasks, "_STRATEGY", strategy)
    return strategy


def _failing(app: Any) -> Any:
    def failing() -> None:
        raise TimeoutError

    return app.task(name="failing", shared=False, boundary="network", max_retries=3)(failing)


def test_each_retry_is_asked_for_by_its_number(app: Celery, strategy: _Strategy) -> None:
    """The last run asks for none; a call is counted once, also where the task was bound more than once."""
    task = _failing(app)
    type(app.tasks[task.name]).bind(app)
    with telemetry.capture("hardening.boundary") as events, pytest.raises(BoundaryError):
        task.apply().get()
    assert strategy.retries == [1, 2, 3]
    assert (strategy.deposits, len(events)) == (1, 3)


def test_a_task_that_is_called_as_a_function_is_not_retried(app: Celery, strategy: _Strategy) -> None:
    """Whoever called it is told at once."""
    with telemetry.capture("hardening.boundary") as events, pytest.raises(BoundaryError):
        _failing(app)()
    assert (strategy.retries, events) == ([], [])
