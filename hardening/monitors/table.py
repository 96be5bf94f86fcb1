"""The monitors of this process, as it knows them itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from hardening.core.scripts.monitoring import Errand
    from hardening.monitors.down import Down

__all__ = ["Held", "Table"]


@dataclass(eq=False, slots=True)
class Held:
    """A monitor of this process.

    Attributes:
        errand: what Redis is asked to keep.
        tag: as its owner gave it.
        task: id of the task that owns it; empty: the process does.
        on_down: what is called; None: nobody.
        loop: the event loop in which it is called; None: a thread of ours.
        is_pending: whether the owner's thread is to set it.
        is_sent: whether Redis was asked to keep it, so that it may.
        is_kept: whether Redis has said that it keeps it.
    """

    errand: Errand
    tag: str
    task: str
    on_down: Callable[[Down], Any] | None
    loop: asyncio.AbstractEventLoop | None = None
    is_pending: bool = False
    is_sent: bool = False
    is_kept: bool = False

    @property
    def ref(self) -> tuple[str, str]:
        """Its id and target, as the scripts take them."""
        return self.errand.id, self.errand.target


class Table:
    """Any thread may call any method; nothing here talks to Redis.

    Whoever takes a monitor out is the one that tells of it, or ends it, so both happen once.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._held: dict[str, Held] = {}
        self._by_task: dict[str, set[str]] = {}
        self._owed: list[tuple[str, str]] = []
        self._pending: dict[str, Held] = {}

    def __len__(self) -> int:
        """How many monitors there are."""
        return len(self._held)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to look after."""
        return not (self._held or self._owed)

    def put(self, held: Held) -> None:
        """Enters one."""
        with self._mutex:
            self._held[held.errand.id] = held
            if held.is_pending:
                self._pending[held.errand.id] = held
            if held.task:
                self._by_task.setdefault(held.task, set()).add(held.errand.id)

    def get(self, monitor_id: str) -> Held | None:
        """One of them; None: it is not there any more."""
        return self._held.get(monitor_id)

    def take(self, monitor_id: str) -> Held | None:
        """Takes one out; None: it is not there any more."""
        with self._mutex:
            return self._take(monitor_id)

    def take_of(self, task: str) -> list[Held]:
        """Takes out all of a task."""
        if task not in self._by_task:  # nearly every task of nearly every process
            return []
        with self._mutex:
            ids = tuple(self._by_task.get(task, ()))
            return [held for held in map(self._take, ids) if held is not None]

    def take_all(self) -> list[Held]:
        """Takes out all there are."""
        with self._mutex:
            return [held for held in map(self._take, tuple(self._held)) if held is not None]

    def _take(self, monitor_id: str) -> Held | None:
        held = self._held.pop(monitor_id, None)
        self._pending.pop(monitor_id, None)
        if held is not None and held.task:
            siblings = self._by_task[held.task]
            siblings.discard(monitor_id)
            if not siblings:
                del self._by_task[held.task]
        return held

    def kept(self) -> list[Held]:
        """Those that Redis should have; none that is still to be set, or just being set."""
        with self._mutex:
            return [held for held in self._held.values() if held.is_kept]

    def begin_pending(self, most: int) -> list[Held]:
        """Some that are to be set, from now on as sent; whoever cannot set them puts them back by :meth:`put_back`."""
        if not self._pending:
            return []
        with self._mutex:
            begun = [self._pending.pop(monitor_id) for monitor_id in tuple(self._pending)[:most]]
            for held in begun:
                held.is_pending, held.is_sent = False, True
            return begun

    def put_back(self, many: Iterable[Held]) -> None:
        """Those of them that have not ended are still to be set."""
        with self._mutex:
            for held in many:
                if self._held.get(held.errand.id) is held:
                    held.is_pending = True
                    self._pending[held.errand.id] = held

    def owe(self, refs: Iterable[tuple[str, str]]) -> None:
        """Remembers monitors that are to be ended in Redis, given as (id, target)."""
        with self._mutex:
            self._owed.extend(refs)

    def take_owed(self, most: int | None = None) -> list[tuple[str, str]]:
        """Takes out some that are to be ended; whoever cannot end them gives them back by :meth:`owe`."""
        if not self._owed:
            return []
        with self._mutex:
            taken = self._owed[:most]
            del self._owed[:most]
            return taken
