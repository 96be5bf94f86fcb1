"""What is handed to a pool of threads, and when."""

from __future__ import annotations

import inspect
import threading
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from celery.apps import worker as celery_app_worker
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.utils import log as celery_log
from celery.worker import state

from hardening.worker.places import Places


class _Request:
    """A request of a message that no book holds: it may always run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._message = SimpleNamespace()


class _Stage:
    """A pool of two threads that runs nothing until it is told to."""

    def __init__(self) -> None:
        self.running: dict[str, Future[None]] = {}
        self.revoked: set[str] = set()
        self.wakes: list[str] = []
        self.book: Any = SimpleNamespace(fill=None, wake=self._wake)
        self.pool: Any = SimpleNamespace(limit=2, on_apply=self._apply, on_stop=None)
        worker: Any = SimpleNamespace(pool=self.pool)
        self.places = Places(worker, self._hand_over)
        self.places.watch(self.pool)
        self.places.serve(cast("Any", self.book))

    def _wake(self) -> None:
        self.wakes.append("wake")

    def _apply(self, name: str) -> Any:
        self.running[name] = Future()
        return SimpleNamespace(f=self.running[name])

    def _hand_over(self, request: _Request) -> None:
        if request.name not in self.revoked:
            self.pool.on_apply(request.name)

    def add(self, *names: str) -> None:
        for name in names:
            self.places.add(_Request(name))
        self.book.fill()

    def end(self, name: str) -> None:
        self.running.pop(name).set_result(None)
        self.book.fill()


@pytest.fixture
def stage() -> _Stage:
    """A stage of this test's own."""
    return _Stage()


def test_no_more_is_handed_over_than_there_are_threads(stage: _Stage) -> None:
    """The rest waits, in the order in which it came."""
    stage.add("a", "b", "c", "d")
    assert list(stage.running) == ["a", "b"]
    stage.end("a")
    assert list(stage.running) == ["b", "c"]
    stage.end("b")
    assert list(stage.running) == ["c", "d"]


def test_the_loop_is_woken_when_a_task_ends(stage: _Stage) -> None:
    """Otherwise the next one would wait until something else happens."""
    stage.add("a")
    assert stage.wakes == []
    stage.end("a")
    assert stage.wakes == ["wake"]


def test_what_the_pool_does_not_run_takes_no_place(stage: _Stage) -> None:
    """A task may be revoked while it waits."""
    stage.revoked = {"a", "b", "c"}
    stage.add("a", "b", "c", "d", "e")
    assert list(stage.running) == ["d", "e"]


def test_what_waits_is_forgotten_on_request_and_what_runs_keeps_its_place(stage: _Stage) -> None:
    """A worker that stops gives back what it has not begun."""
    stage.add("a", "b", "c")
    stage.places.clear()
    stage.end("a")
    stage.add("d", "e")
    assert list(stage.running) == ["b", "d"]


def _pool_of_threads() -> tuple[ThreadPool, Places]:
    pool = ThreadPool(2)
    worker: Any = SimpleNamespace(pool=pool)
    places = Places(worker, lambda request: request)
    places.watch(pool)
    return pool, places


def test_a_cold_shutdown_does_not_wait_for_the_submission_it_interrupted() -> None:
    """The signal's handler runs on top of it, and the executor's lock is held until it returns."""
    pool, _ = _pool_of_threads()
    in_handler: Any = celery_log.in_sighandler

    def handler() -> None:
        with in_handler():
            pool.stop()

    with pool.executor._shutdown_lock:
        thread = threading.Thread(target=handler, daemon=True)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
    assert pool.on_apply(lambda: None, (), {}, callback=lambda _: None).f.result(5) is None
    pool.terminate()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.on_apply(lambda: None)


def test_a_pool_that_is_stopped_outside_a_signals_handler_stops_at_once() -> None:
    """As at every other end of a worker."""
    pool, _ = _pool_of_threads()
    pool.stop()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.on_apply(lambda: None)


def test_nothing_is_handed_over_once_the_worker_terminates(stage: _Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal may come between two of a batch."""

    def hand_over(request: _Request) -> None:
        stage.pool.on_apply(request.name)
        monkeypatch.setattr(state, "should_terminate", True)

    monkeypatch.setattr(stage.places, "_hand_over", hand_over)
    stage.add("a", "b")
    assert list(stage.running) == ["a"]


def test_celery_still_stops_the_pool_inside_the_handler() -> None:
    """When this fails, it does so where nothing is in the way, and ours need not wait for it."""
    assert "pool.stop()" in inspect.getsource(cast("Any", celery_app_worker).on_cold_shutdown)
