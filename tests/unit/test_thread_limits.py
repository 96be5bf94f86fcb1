"""Exceptions raised in a thread from outside: in the function alone, and never after it."""

from __future__ import annotations

import ctypes
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, cast

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from hardening.core import telemetry
from hardening.worker.thread_limits import Run, ThreadLimits, ThreadStopped, Window, _set_async_exc
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Nobody traces: while an exception from outside is pending, CPython 3.11 may start over and over where it traces.

    Its ``DO_TRACING`` looks for what is pending before it enters a function, and if there is, for whichever thread,
    begins again; the thread that is meant may be one of those that are kept from running so.
    """
    here, there = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(cast("Any", None))
    yield
    threading.settrace(cast("Any", there))
    sys.settrace(here)


def _spin(steps: int) -> int:
    for _ in range(steps):
        pass
    return steps


class _Sniper:
    """Raises in whatever window is open, again and again, at random moments."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.window: Window | None = None
        self.hits = 0
        self._kind = kind
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        last: Window | None = None
        while not self._stopped.is_set():
            window = self.window
            if window is not None and window is not last:
                _spin(random.randrange(400))
                self.hits += window.raise_in(self._kind)
                last = window

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()


@pytest.mark.parametrize("kind", [SoftTimeLimitExceeded, ThreadStopped])
def test_what_is_raised_comes_out_of_the_window_or_not_at_all(kind: type[BaseException]) -> None:
    """Thousands of functions that end just when their limit does: each gives its result or the exception, no other."""
    raised, done, until_s = 0, 0, time.monotonic() + 1
    with _Sniper(kind) as sniper:
        while time.monotonic() < until_s or not (raised and done):
            window = Window()
            sniper.window = window
            steps = random.randrange(600)
            try:
                assert window.run(_spin, (), {"steps": steps}) == steps
                done += 1
            except (SoftTimeLimitExceeded, ThreadStopped):
                raised += 1
            _spin(20)  # what is raised here would fail the test
    assert raised <= sniper.hits
    _spin(1000)


def test_a_window_that_is_not_open_is_not_raised_in() -> None:
    """Not before the function, and not after it."""
    window = Window()
    assert not window.raise_in(SoftTimeLimitExceeded)
    assert window.run(_spin, (3,), {}) == 3
    assert not window.raise_in(SoftTimeLimitExceeded)
    _spin(1000)


def test_a_limit_that_is_over_as_the_function_returns_does_not_cost_its_result() -> None:
    """What is raised in its last step in C is seen only after it has ended."""
    last_step = partial(_set_async_exc, threading.get_ident(), ctypes.py_object(SoftTimeLimitExceeded))
    assert Window().run(last_step, (), {}) == 1
    _spin(1000)


def test_what_a_function_raises_itself_comes_out() -> None:
    """A window changes nothing about it."""

    def fail() -> None:
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        Window().run(fail, (), {})


_TRACED = """
import sys
from hardening.worker.thread_limits import Window
window = Window()
window._has_raised = True  # and it has not been seen
window._close()
sys.settrace(lambda *_: None)
(lambda: None)()
"""


def test_nothing_is_pending_any_more_when_something_was_withdrawn() -> None:
    """CPython 3.11 would never enter a traced function again, and any up to 3.12 would look for it for ever."""
    assert subprocess.run([sys.executable, "-c", _TRACED], timeout=30, check=False).returncode == 0


class _Pool:
    """Runs what it is given in threads."""

    def on_apply(self, target: Any, args: Any, kwargs: Any, callback: Any, accept_callback: Any, **_: Any) -> Any:
        future: Future[Any] = Future()

        def run() -> None:
            accept_callback()
            try:
                callback(target(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001
                callback(error)
            future.set_result(None)

        threading.Thread(target=run, daemon=True).start()
        return SimpleNamespace(f=future)


class _Desk:
    """A guarded pool, one task in it, and what was told."""

    def __init__(self, function: Any) -> None:
        self.told: list[Any] = []
        self.lost: list[Any] = []
        self.pool = _Pool()
        self.task = SimpleNamespace(run=function)
        self.limits = ThreadLimits(lambda future, thread: self.lost.append((future, thread)))
        self.limits.guard(self.pool, [self.task])

    def apply(self, *args: Any, soft: float | None, hard: float | None) -> Any:
        return self.pool.on_apply(
            self.task.run, args, {},
            callback=lambda result: self.told.append(("done", result)),
            accept_callback=lambda: self.told.append("accepted"),
            soft_timeout=soft, timeout=hard,
            timeout_callback=lambda soft, seconds: self.told.append(("soft" if soft else "hard", seconds)),
        )  # fmt: skip


def test_a_task_within_its_limits_is_told_of_once() -> None:
    """And one that has none is not looked after."""
    desk = _Desk(_spin)
    desk.apply(3, soft=30, hard=60).f.result(5)
    desk.apply(4, soft=None, hard=None).f.result(5)
    assert desk.told == ["accepted", ("done", 3), "accepted", ("done", 4)]


def test_a_shorter_limit_than_all_before_is_kept_in_time() -> None:
    """The watcher sleeps until the first limit is over; it is woken for an earlier one."""
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            pass

    desk = _Desk(spin)
    first = desk.apply(soft=50, hard=60)
    eventually(lambda: "accepted" in desk.told)
    desk.apply(soft=0.1, hard=90).f.result(5)
    eventually(lambda: ("soft", 0.1) in desk.told)
    (ended,) = [told[1] for told in desk.told if told[0] == "done"]
    assert isinstance(ended, SoftTimeLimitExceeded)
    desk.apply(soft=None, hard=0.1).f.result(5)
    eventually(lambda: ("hard", 0.1) in desk.told)
    assert not first.f.done()
    over.set()
    first.f.result(5)


def test_short_tasks_wake_the_watcher_once_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not each of them; when no more come it sleeps until the next."""
    desk = _Desk(_spin)
    wakes: list[float] = []
    wake = desk.limits.wake

    def note() -> None:
        wakes.append(time.monotonic())
        wake()

    monkeypatch.setattr(desk.limits, "wake", note)
    for _ in range(50):
        desk.apply(3, soft=30, hard=60).f.result(5)
        eventually(lambda: not desk.limits._woken.is_set())
    assert 0 < len(wakes) <= 2 + (wakes[-1] - wakes[0])
    eventually(lambda: desk.limits.wake_at_s == float("inf"), 10)


def test_after_the_hard_limit_nobody_is_told_how_it_ended() -> None:
    """The message is settled once, by the limit; the thread is given up, and seen when it comes back."""
    gate = threading.Event()
    desk = _Desk(gate.wait)
    with telemetry.capture("hardening.thread") as events:
        result = desk.apply(60, soft=0.05, hard=0.1)
        eventually(lambda: desk.lost, 10)
        assert [event.name for event in events] == ["hardening.thread.lost"]
        assert "in wait" in events[0].stack  # type: ignore[attr-defined]
        gate.set()
        result.f.result(5)
        eventually(lambda: len(events) == 2)
    assert desk.told == ["accepted", ("soft", 0.05), ("hard", 0.1)]
    assert desk.lost[0][0] is result.f


def test_a_task_that_ends_just_before_its_hard_limit_is_not_told_of_twice() -> None:
    """Whoever takes the claim first settles it."""
    told: list[Any] = []
    run = Run(ThreadLimits(lambda *_: None), _spin, None, 1.0, told.append, lambda *args: told.append(args))
    run(3)
    run.done("result")
    run.is_over = False  # as the watcher may have seen it
    assert run.look(time.monotonic() + 10) == float("inf")
    assert told == ["result"]


def test_a_soft_limit_that_is_over_too_early_waits_for_the_function() -> None:
    """While Celery is still about the task nothing is raised."""
    told: list[Any] = []
    run = Run(ThreadLimits(lambda *_: None), lambda: None, 0.5, 9.0, told.append, lambda *args: told.append(args))
    run()
    run.is_over = False
    now_s = time.monotonic() + 1
    assert run.look(now_s) == pytest.approx(now_s + 0.1)
    assert told == []
