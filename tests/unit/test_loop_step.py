"""The boot step that has the worker's loop tell that it turns; the whole is in tests/faults/test_loop.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.concurrency.solo import TaskPool as SoloPool

from hardening.worker.loop import LoopStep

if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    """A consumer, its timer and its lease."""

    def __init__(self, pool: type) -> None:
        self.turns: list[str] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        book = SimpleNamespace(lease=SimpleNamespace(turn=self._turn))
        self.consumer: Any = SimpleNamespace(
            controller=SimpleNamespace(pool_cls=pool),
            task_consumer=SimpleNamespace(channel=SimpleNamespace(open_book=lambda: book)),
            timer=SimpleNamespace(call_repeatedly=self._call_repeatedly),
            steps=[],
        )

    def _turn(self, *, is_last: bool = False) -> None:
        self.turns.append("last" if is_last else "turn")

    def _call_repeatedly(self, seconds: float, call: Callable[[], None]) -> Any:
        entry = (seconds, call)
        self.timers.append(entry)
        return SimpleNamespace(cancel=lambda: self.timers.remove(entry))


@pytest.fixture
def loop() -> Loop:
    """That of a pool of processes."""
    return Loop(PreforkPool)


def test_it_turns_once_a_second_while_connected(loop: Loop) -> None:
    """At once, too, so that a loop that never comes round is silent from its start."""
    step = LoopStep(loop.consumer)
    step.start(loop.consumer)
    ((seconds, call),) = loop.timers
    assert (seconds, loop.turns) == (1.0, ["turn"])
    call()
    assert loop.turns == ["turn", "turn"]
    step.stop(loop.consumer)
    step.start(loop.consumer)
    assert len(loop.timers) == 1


def test_a_worker_that_stops_is_not_expected_to_turn(loop: Loop) -> None:
    """What it runs may take longer than any silence may last."""
    step = LoopStep(loop.consumer)
    step.start(loop.consumer)
    step.shutdown(loop.consumer)
    assert (loop.timers, loop.turns) == ([], ["turn", "last"])


def test_a_worker_that_never_connected_stops_too(loop: Loop) -> None:
    """And tells nothing."""
    LoopStep(loop.consumer).shutdown(loop.consumer)
    assert loop.turns == []


def test_the_solo_pool_does_not_turn() -> None:
    """Its loop runs the tasks."""
    loop = Loop(SoloPool)
    step = LoopStep(loop.consumer)
    step.start(loop.consumer)
    step.stop(loop.consumer)
    step.shutdown(loop.consumer)
    assert (loop.timers, loop.turns) == ([], [])
