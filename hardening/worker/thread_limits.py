"""Time limits in a pool of threads, as far as Python allows.

**Soft.** ``SoftTimeLimitExceeded`` is raised in the thread, by ``PyThreadState_SetAsyncExc``: the next time it runs
Python code, so not while it is blocked in a system call or in C. It is raised in the task's own function alone, never
in Celery around it, and never once that function has ended: see :class:`Window`.

**Hard.** A thread cannot be killed. The message is buried as ``timeout`` and its result fails, as in a pool of
processes, and whatever the thread still brings is ignored. :class:`ThreadStopped`, which is no ``Exception``, is raised
in the thread, with the same restriction. A thread that has not ended 2 s later is *lost*: it is told with its stack,
and another takes its place; see :class:`~hardening.worker.places.Places` for when a worker gives up.

Does not guarantee: that a task is over when its hard limit is: what a lost thread still does, it does, and a replay of
its dead letter may run beside it. Nor that CPython 3.11 gets on under a tracer (a debugger, coverage) while a thread
that was raised in is blocked: until that has seen it, each traced function is begun over and over.

Events: ``hardening.thread.lost``, ``.returned``.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
import traceback
from functools import partial, wraps
from itertools import starmap
from typing import TYPE_CHECKING, Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_logger

from hardening.core import telemetry
from hardening.timeouts.events import ThreadLost, ThreadReturned

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["Run", "ThreadLimits", "ThreadStopped", "Window"]

logger = get_logger(__name__)
#: How long a thread has after its hard limit, in seconds.
_GRACE_S = 2.0
#: How soon to try again when a soft limit is over before the task's function has begun, in seconds.
_AGAIN_S = 0.1
#: For how long the daemon thread is awake when what woke it is over already, in seconds.
_LINGER_S = 1.0
_NEVER_S = float("inf")
#: What each task needs, found without a detour.
_get_ident, _monotonic_s = threading.get_ident, time.monotonic
_STACK_MAX = 4000

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.py_object)
#: How often at most to look whether something pending has come; once is enough.
_LOOKS = 1_000_000


class _Withdrawn(BaseException):
    """Takes the place of what was raised from outside and not seen yet."""


class ThreadStopped(BaseException):
    """Ends a task in a thread whose hard time limit is over. No ``Exception``, so that few catch it."""


class Window:
    """The time in which something may be raised in a thread from outside: while a task's function runs.

    One thread is in the window, one other raises. Neither takes a lock, for the exception may come between any two
    steps of the first one. What is raised while the window closes is either seen before it has closed, or withdrawn.

    Attributes:
        is_open: whether the function has begun.
        is_closing: whether it has ended.
    """

    is_open = is_closing = _is_raising = _has_raised = False  # of the class: every task in a thread has a window

    def __init__(self) -> None:
        self.thread = _get_ident()

    def raise_in(self, kind: type[BaseException]) -> bool:
        """Has the thread raise; returns whether its function still runs."""
        self._is_raising = True  # then look: whoever closes does it the other way round, so one sees the other
        try:
            if not self.is_open or self.is_closing:
                return False
            self._has_raised = True
            _set_async_exc(self.thread, ctypes.py_object(kind))
            return True
        finally:
            self._is_raising = False

    def run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Runs a function in the window.

        A limit that is over when the function has just ended changes nothing any more.
        """
        result: list[Any] = []
        try:
            try:
                self.is_open = True
                # In one step of C: Python looks for exceptions from outside after each call, so a result that had
                # still to be stored could be lost.
                result.extend(starmap(partial(function, **kwargs) if kwargs else function, (args,)))
            finally:
                self.is_closing = True
                if self._is_raising or self._has_raised:  # in this order
                    self._close()
        except SoftTimeLimitExceeded:
            self._close()
            if not result:
                raise
        return result[0]

    def _close(self) -> None:
        """From here on nothing is raised. May be interrupted anywhere, and called again."""
        self.is_closing = True
        while self._is_raising:
            time.sleep(0)  # noqa: TID251 - the other thread is a few steps from its end
        if self._has_raised:
            self._withdraw()

    def _withdraw(self) -> None:
        """Has what was not seen yet never be.

        Something else is raised in its place, and caught. Were nothing put there, CPython, up to 3.12, would go on
        looking for it, in all threads and for ever: it notes for the whole interpreter that something is pending, and
        unnotes it when something is raised.
        """
        try:
            _set_async_exc(self.thread, ctypes.py_object(_Withdrawn))
            for _ in range(_LOOKS):
                pass
        except _Withdrawn:
            return


class Run:
    """One task in a thread of the pool, with its limits.

    Args:
        limits: whose watcher looks after it.
        target: Celery's tracer.
        soft_s: the soft limit, in seconds; None: it has none.
        hard_s: the hard limit.
        callback: told of the end.
        timeout_callback: told of a limit that is over, as (soft, seconds).

    Attributes:
        future: of the executor.
        is_lost: whether its thread was given up.
    """

    future: Future[Any] | None = None
    is_lost = is_over = told_hard = told_soft = False

    def __init__(
        self,
        limits: ThreadLimits,
        target: Callable[..., Any],
        soft_s: float | None,
        hard_s: float | None,
        callback: Callable[..., Any],
        timeout_callback: Callable[..., Any],
    ) -> None:
        self._limits = limits
        self._target = target
        self._soft_s = soft_s or _NEVER_S
        self._hard_s = hard_s or _NEVER_S
        self._callback = callback  # whoever takes it out settles the message; that is one step
        self._timeout_callback = timeout_callback

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs it, in a thread of the pool."""
        began_s = self._began_s = _monotonic_s()
        window = self.window = Window()
        thread, limits, soft_s, hard_s = window.thread, self._limits, self._soft_s, self._hard_s
        limits.active[thread] = self
        left_s = limits.wake_at_s - began_s
        if soft_s < left_s or hard_s < left_s:
            limits.wake()
        try:
            return self._target(*args, **kwargs)
        finally:
            self.is_over = True
            limits.active.pop(thread, None)

    def done(self, result: Any) -> None:
        """It has ended; after its hard limit nobody wants to know how."""
        callback = self._claim()
        if callback is not None:
            callback(result)

    def _claim(self) -> Callable[..., Any] | None:
        return self.__dict__.pop("_callback", None)

    def look(self, now_s: float) -> float:
        """Does what is due, in the watcher's thread; returns when to look again, by the monotonic clock."""
        soft_at_s, hard_at_s = self._began_s + self._soft_s, self._began_s + self._hard_s
        if self.is_over or self.is_lost:
            return _NEVER_S
        if now_s >= hard_at_s:
            return self._hard_limit_over(now_s, hard_at_s + _GRACE_S)
        if now_s >= soft_at_s and not self.told_soft:
            if not self.window.is_open:
                return min(now_s + _AGAIN_S, hard_at_s)
            self.told_soft = True
            if self.window.raise_in(SoftTimeLimitExceeded):
                self._timeout_callback(True, self._soft_s)  # noqa: FBT003 - as the pool of processes calls it
        return hard_at_s if self.told_soft else min(soft_at_s, hard_at_s)

    def _hard_limit_over(self, now_s: float, lost_at_s: float) -> float:
        if not self.told_hard:
            self.told_hard = True
            if self._claim() is None:
                return _NEVER_S  # it has just ended
            # It writes to Redis and calls the user's handlers, for which the watcher must not wait.
            settle = partial(self._timeout_callback, False, self._hard_s)  # noqa: FBT003
            threading.Thread(target=settle, name="hardening-hard-limit", daemon=True).start()
            self.window.raise_in(ThreadStopped)
        if now_s < lost_at_s:
            return lost_at_s
        self.is_lost = True
        self._limits.lose(self)
        return _NEVER_S

    def stack(self) -> str:
        """Where its thread is."""
        frame = sys._current_frames().get(self.window.thread)
        return "".join(traceback.format_stack(frame))[-_STACK_MAX:] if frame else ""


class ThreadLimits:
    """Keeps the limits of all tasks in one pool of threads, by one daemon thread.

    Args:
        on_lost: called in that thread with the future of a task whose thread is given up, and the thread's number.

    Attributes:
        active: what runs, by the number of its thread, which enters it and takes it out.
        wake_at_s: when the daemon thread looks again, by the monotonic clock. Who is due earlier wakes it.
    """

    def __init__(self, on_lost: Callable[[Future[Any], int], None]) -> None:
        self._on_lost = on_lost
        self.active: dict[int, Run] = {}
        self.wake_at_s = _NEVER_S
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def guard(self, pool: Any, tasks: Any) -> None:
        """Has a pool keep limits, and tasks run in windows. Once, before anything is handed to the pool.

        Args:
            pool: Celery's pool of threads.
            tasks: all that may run there; their tracers are made later.
        """
        apply = pool.on_apply

        def on_apply(
            target: Any,
            args: Any,
            kwargs: Any,
            callback: Any = None,
            accept_callback: Any = None,
            soft_timeout: float | None = None,
            timeout: float | None = None,
            timeout_callback: Any = None,
            **options: Any,
        ) -> Any:
            if not (soft_timeout or timeout) or timeout_callback is None:
                return apply(target, args, kwargs, callback, accept_callback, **options)
            run = Run(self, target, soft_timeout, timeout, callback, timeout_callback)
            result = apply(run, args, kwargs, run.done, accept_callback, **options)
            run.future = result.f
            return result

        pool.on_apply = on_apply
        for task in tasks:
            task.run = self._in_window(task.run)
        self._thread = threading.Thread(target=self._watch, name="hardening-limits", daemon=True)
        self._thread.start()

    def _in_window(self, function: Callable[..., Any]) -> Callable[..., Any]:
        active, ident = self.active, _get_ident

        @wraps(function)
        def in_window(*args: Any, **kwargs: Any) -> Any:
            run = active.get(ident())
            if run is None or run.window.is_open:  # a task that another one calls as a function is part of that
                return function(*args, **kwargs)
            return run.window.run(function, args, kwargs)

        return in_window

    def wake(self) -> None:
        """A task has begun that is due before the daemon thread would look again."""
        self._woken.set()

    def lose(self, run: Run) -> None:
        """A thread is given up."""
        stack = run.stack()
        self.active.pop(run.window.thread, None)
        text = "a task has not ended %g s after its hard time limit, its thread is lost; it is at\n%s"
        logger.critical(text, _GRACE_S, stack)
        telemetry.emit(ThreadLost(thread=run.window.thread, stack=stack))
        future = run.future
        if future is not None:
            future.add_done_callback(lambda _: telemetry.emit(ThreadReturned(thread=run.window.thread)))
            self._on_lost(future, run.window.thread)

    def _watch(self) -> None:
        while True:
            self.wake_at_s = _NEVER_S  # whoever enters while we look wakes us again
            was_woken = self._woken.is_set()
            self._woken.clear()
            now_s = time.monotonic()
            next_s = _NEVER_S
            for run in list(self.active.values()):
                try:
                    next_s = min(next_s, run.look(now_s))
                except Exception:  # the edge: what one callback raises must not end the limits of all
                    logger.exception("a time limit could not be kept")
            if was_woken and next_s == _NEVER_S:
                next_s = now_s + _LINGER_S  # it was short, and more such may come: not each is to wake us for nothing
            self.wake_at_s = next_s
            self._woken.wait(None if next_s == _NEVER_S else max(0.0, next_s - now_s))
