"""Calls what is to be called when a target is down."""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
from typing import TYPE_CHECKING, Any

from hardening.core import telemetry
from hardening.monitors import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.monitors.down import Down

__all__ = ["Teller"]


class Teller:
    """One daemon thread of an owner, from its first down on: calls one after the other, in the order of the downs.

    Does not guarantee: that a call that never returns does not hold up the next; nothing else waits for it.

    Events: ``hardening.monitor.tell_failed``.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[Down], Any], Down]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def tell(self, on_down: Callable[[Down], Any], down: Down, loop: asyncio.AbstractEventLoop | None) -> None:
        """Has somebody told: a coroutine function in its event loop, anything else in the thread.

        Only the owner's thread calls this.
        """
        if loop is not None and not loop.is_closed():
            telling = _awaited(on_down, down)
            try:
                asyncio.run_coroutine_threadsafe(telling, loop)
            except RuntimeError as error:  # closed this very moment; others still wait to be told
                telling.close()
                _tell_failure(down, error)
            return
        self._calls.put((on_down, down))
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="hardening-monitors-tell", daemon=True)
            thread.start()
            self._thread = thread  # only now: there may have been none to be had

    def _run(self) -> None:
        while True:
            on_down, down = self._calls.get()
            try:
                answer = on_down(down)
                if inspect.iscoroutine(answer):
                    answer.close()
                    raise RuntimeError("the event loop that was to await it is closed")  # noqa: TRY301 - told like any other
            except Exception as error:  # noqa: BLE001 - the edge: it is the user's
                _tell_failure(down, error)


async def _awaited(on_down: Callable[[Down], Any], down: Down) -> None:
    try:
        answer = on_down(down)
        if inspect.isawaitable(answer):
            await answer
    except Exception as error:  # noqa: BLE001 - the edge: it is the user's
        _tell_failure(down, error)


def _tell_failure(down: Down, error: Exception) -> None:
    telemetry.emit(events.MonitorTellFailed(monitor=down.monitor, error=repr(error)))
