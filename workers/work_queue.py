"""What waits to be done, what is being done, and what came of it: the core of the task agent, which does no I/O.

Times are the clock of Redis, in seconds, and given by the caller.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

__all__ = ["End", "Ended", "Item", "PauseRule", "QueueFull", "WorkQueue"]

#: How many items that have ended are remembered, and for how long, in seconds.
_MOST_ENDED, _KEPT_S = 500, 86_400.0

End = Literal["done", "failed", "timed_out", "cancelled", "dropped"]
#: Ends that tell of something wrong.
_ERRORS = frozenset({"failed", "timed_out"})


class QueueFull(Exception):
    """There is no room for an item.

    Attributes:
        bound: how many may wait.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        super().__init__(f"{bound} items wait, which is all: submit it later")


class PauseRule(BaseModel):
    """When the queue pauses by itself.

    Attributes:
        errors: after so many.
        within_s: within so long, in seconds.
    """

    errors: int = 10
    within_s: float = 60.0


class Item(BaseModel):
    """Something to be done.

    Attributes:
        id: of the item.
        task: name of the Celery task.
        args: its arguments.
        kwargs: likewise.
        priority: 0 to 9; those with more go first.
        timeout_s: how long its task may take, in seconds.
        attempt: how often the item was submitted, this time included.
        number: its place among those of the same priority.
        receipt: of its message; empty: it waits.
        since_s: since when it waits, or when its message was sent.
        is_unwanted: it was cancelled while it ran.
    """

    id: str
    task: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    priority: int = 5
    timeout_s: float = 60.0
    attempt: int = 1
    number: int = 0
    receipt: str = ""
    since_s: float = 0.0
    is_unwanted: bool = False

    def is_same(self, other: Item) -> bool:
        """Whether somebody submitted the same twice."""
        mine, theirs = ((one.task, one.args, one.kwargs, one.priority, one.timeout_s) for one in (self, other))
        return mine == theirs

    @property
    def rank(self) -> tuple[int, int]:
        """Those with the smallest go first."""
        return -self.priority, self.number


class Ended(BaseModel):
    """What came of an item.

    Attributes:
        id: of the item.
        task: name of the task.
        end: how it ended.
        why: one line; empty: it is done.
        attempt: the last one.
        receipt: of the message; empty: there was none.
        ended_s: when.
    """

    id: str
    task: str
    end: End
    why: str = ""
    attempt: int = 1
    receipt: str = ""
    ended_s: float = 0.0


class WorkQueue(BaseModel):
    """The queue.

    Attributes:
        waiting: items that wait, by id.
        running: items whose messages are sent, by id.
        ended: what came of others, those that ended last at the end.
        errors: when there were errors, as far back as it matters.
        paused: why nothing is sent; empty: it is.
        count: how many items were ever submitted.
    """

    waiting: dict[str, Item] = Field(default_factory=dict)
    running: dict[str, Item] = Field(default_factory=dict)
    ended: dict[str, Ended] = Field(default_factory=dict)
    errors: list[float] = Field(default_factory=list)
    paused: str = ""
    count: int = 0

    def known(self, id_: str) -> Item | None:
        """An item that has not ended."""
        return self.waiting.get(id_) or self.running.get(id_)

    def submit(self, item: Item, now_s: float, *, bound: int, drops: bool = False) -> None:
        """Has an item wait. One that ended before is done again, unless it is done.

        Args:
            item: whose id is that of no item that waits or runs, or is done.
            now_s: the time.
            bound: how many may wait.
            drops: whether the last of those with the lowest priority makes room, if the new one has a higher.

        Raises:
            QueueFull: there is no room.
        """
        if len(self.waiting) >= bound:
            last = max(self.waiting.values(), key=lambda one: one.rank, default=None)
            if not drops or last is None or last.priority >= item.priority:
                raise QueueFull(bound)
            self._end(self.waiting.pop(last.id), "dropped", "something with a higher priority came", now_s)
        before = self.ended.pop(item.id, None)
        self.count += 1
        item.number, item.since_s, item.attempt = self.count, now_s, before.attempt + 1 if before else 1
        self.waiting[item.id] = item

    def next(self, concurrency: int) -> Item | None:
        """The item whose message is to be sent now, if any is."""
        if self.paused or len(self.running) >= concurrency:
            return None
        return min(self.waiting.values(), key=lambda one: one.rank, default=None)

    def sent(self, id_: str, receipt: str, now_s: float) -> None:
        """The message of an item that waited is sent."""
        item = self.waiting.pop(id_)
        item.receipt, item.since_s = receipt, now_s
        self.running[id_] = item

    def end(self, id_: str, end: End, why: str, now_s: float, rule: PauseRule) -> None:
        """An item that has not ended, ends. Too many errors pause the queue."""
        item = self.waiting.pop(id_, None) or self.running.pop(id_)
        if item.is_unwanted and end in _ERRORS:
            end, why = "cancelled", why or "cancelled while it ran"
        self._end(item, end, why, now_s)
        if end not in _ERRORS:
            return
        self.errors = [at for at in [*self.errors, now_s] if now_s - at < rule.within_s][-rule.errors :]
        if len(self.errors) >= rule.errors and not self.paused:
            about = f"{len(self.errors)} errors within {rule.within_s:g} s"
            self.paused = f"{about}, the last of {item.task}: {why}"

    def pause(self, why: str) -> None:
        """Sends nothing more; what runs goes on."""
        self.paused = why

    def resume(self) -> bool:
        """Goes on, with no errors counted. Returns whether it was paused."""
        was_paused, self.paused, self.errors = bool(self.paused), "", []
        return was_paused

    def _end(self, item: Item, end: End, why: str, now_s: float) -> None:
        said = {"id": item.id, "task": item.task, "attempt": item.attempt, "receipt": item.receipt}
        self.ended[item.id] = Ended.model_validate({**said, "end": end, "why": why, "ended_s": now_s})
        surplus = len(self.ended) - _MOST_ENDED
        for at, one in enumerate(list(self.ended.values())):
            if at >= surplus and now_s - one.ended_s <= _KEPT_S:
                break
            del self.ended[one.id]
