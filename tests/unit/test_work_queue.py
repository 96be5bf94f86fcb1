"""The queue of the task agent, beside a naive one; and what it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.work_queue import Item, PauseRule, QueueFull, WorkQueue

_RULE = PauseRule(errors=3, within_s=5)
_BOUND, _CONCURRENCY = 4, 2
_ENDS = st.sampled_from(["done", "failed", "timed_out", "cancelled"])
_STEPS = st.one_of(
    st.tuples(st.just("submit"), st.integers(0, 7), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("submit"), st.integers(0, 7), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("send")),
    st.tuples(st.just("end"), st.integers(0, 5), _ENDS),
    st.tuples(st.just("unwanted"), st.integers(0, 5)),
    st.tuples(st.sampled_from(["pause", "resume"])),
    st.tuples(st.just("wait"), st.floats(0.5, 6)),
)


class Naive:
    """One list of rows: id, priority, state, number, whether it is unwanted."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.errors: list[float] = []
        self.is_paused = False
        self.count = 0

    def of(self, *states: str) -> list[dict[str, Any]]:
        """Rows in a state, in the order in which they came to it."""
        return [row for row in self.rows if row["state"] in states]

    def submit(self, id_: str, priority: int, *, drops: bool) -> bool:
        """Whether there was room."""
        waiting = sorted(self.of("waiting"), key=lambda row: (row["priority"], -row["number"]))
        if len(waiting) == _BOUND:
            if not drops or waiting[0]["priority"] >= priority:
                return False
            waiting[0]["state"] = "dropped"
        self.rows = [row for row in self.rows if row["id"] != id_]
        self.count += 1
        row = {"id": id_, "priority": priority, "state": "waiting", "number": self.count, "unwanted": False}
        self.rows.append(row)
        return True

    def next(self) -> str | None:
        """Which is sent."""
        if self.is_paused or len(self.of("running")) >= _CONCURRENCY or not self.of("waiting"):
            return None
        first: str = min(self.of("waiting"), key=lambda row: (-row["priority"], row["number"]))["id"]
        return first

    def end(self, row: dict[str, Any], end: str, now_s: float) -> None:
        """Ends it."""
        is_error = end in {"failed", "timed_out"} and not row["unwanted"]
        row["state"] = "cancelled" if row["unwanted"] and end != "done" else end
        if is_error:
            self.errors.append(now_s)
            if len([at for at in self.errors if now_s - at < _RULE.within_s]) >= _RULE.errors:
                self.is_paused = True


class Pair:
    """Both of them, which are told the same."""

    def __init__(self) -> None:
        self.queue, self.naive, self.now_s = WorkQueue(), Naive(), 100.0

    def submit(self, number: int, priority: int, *, drops: bool) -> None:
        """Somebody submits."""
        id_ = f"item-{number}"
        if any(row["id"] == id_ for row in self.naive.of("waiting", "running", "done")):
            return
        has_room = self.naive.submit(id_, priority, drops=drops)
        try:
            self.queue.submit(Item(id=id_, task="t", priority=priority), self.now_s, bound=_BOUND, drops=drops)
        except QueueFull:
            assert not has_room
        else:
            assert has_room

    def send(self) -> None:
        """The next one is sent."""
        if (found := self.naive.next()) is not None:
            self.queue.sent(found, f"receipt-{found}", self.now_s)
            next(row for row in self.naive.of("waiting") if row["id"] == found)["state"] = "running"

    def end(self, place: int, end: Any) -> None:
        """One ends."""
        if live := self.naive.of("waiting", "running"):
            row = live[place % len(live)]
            self.naive.end(row, end, self.now_s)
            self.queue.end(row["id"], end, "why", self.now_s, _RULE)

    def unwanted(self, place: int) -> None:
        """One that runs is cancelled."""
        if running := self.naive.of("running"):
            row = running[place % len(running)]
            row["unwanted"] = self.queue.running[row["id"]].is_unwanted = True

    def pause(self) -> None:
        """Somebody pauses it."""
        self.queue.pause("somebody")
        self.naive.is_paused = True

    def resume(self) -> None:
        """Somebody goes on."""
        assert self.queue.resume() == self.naive.is_paused
        self.naive.is_paused, self.naive.errors = False, []

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now_s += seconds

    def check(self) -> None:
        """They agree."""
        queue, naive = self.queue, self.naive
        self.queue = WorkQueue.model_validate_json(queue.model_dump_json())
        assert self.queue == queue
        assert set(queue.waiting) == {row["id"] for row in naive.of("waiting")}
        assert set(queue.running) == {row["id"] for row in naive.of("running")}
        assert {one.id: one.end for one in queue.ended.values()} == {
            row["id"]: row["state"] for row in naive.rows if row["state"] not in {"waiting", "running"}
        }
        first = queue.next(_CONCURRENCY)
        assert (first.id if first else None) == naive.next()
        assert bool(queue.paused) == naive.is_paused


@given(st.lists(_STEPS, max_size=60))
def test_it_is_as_a_naive_one(steps: list[tuple[Any, ...]]) -> None:
    """Who waits, runs and ended how, who is next, and whether it is paused; also after it was written and read."""
    pair = Pair()
    for what, *args in steps:
        pair.now_s += 0.25
        if what == "submit":
            number, priority, drops = args
            pair.submit(number, priority, drops=drops)
        else:
            getattr(pair, what)(*args)
        pair.check()


def test_it_says_why_it_paused() -> None:
    """With the last error; and pauses again only after as many once it was resumed."""
    queue = WorkQueue()
    for number in range(4):
        queue.submit(Item(id=str(number), task="shop.charge"), 0, bound=10)
        queue.end(str(number), "failed", "no money", number, _RULE)
        assert bool(queue.paused) == (number >= 2)
    assert queue.paused == "3 errors within 5 s, the last of shop.charge: no money"
    assert queue.resume()
    queue.submit(Item(id="x", task="shop.charge"), 4, bound=10)
    queue.end("x", "failed", "no money", 4, _RULE)
    assert not queue.paused


def test_what_ended_is_forgotten() -> None:
    """After a day, and beyond 500."""
    queue = WorkQueue()
    for number in range(502):
        queue.submit(Item(id=str(number), task="t"), 0, bound=1)
        queue.end(str(number), "done", "", 0, _RULE)
    assert (len(queue.ended), next(iter(queue.ended))) == (500, "2")
    queue.submit(Item(id="late", task="t"), 90_000, bound=1)
    queue.end("late", "failed", "", 90_000, _RULE)
    assert list(queue.ended) == ["late"]
    queue.submit(Item(id="late", task="t"), 90_001, bound=1)
    assert (queue.ended, queue.waiting["late"].attempt) == ({}, 2)


def test_a_full_queue_says_so() -> None:
    """With its bound."""
    queue = WorkQueue()
    queue.submit(Item(id="1", task="t"), 0, bound=1)
    with pytest.raises(QueueFull, match="1 items wait, which is all: submit it later"):
        queue.submit(Item(id="2", task="t", priority=9), 0, bound=1)
    with pytest.raises(QueueFull):
        queue.submit(Item(id="2", task="t"), 0, bound=1, drops=True)
    queue.submit(Item(id="2", task="t", priority=6), 0, bound=1, drops=True)
    assert (list(queue.waiting), queue.ended["1"].end) == (["2"], "dropped")


def test_errors_long_ago_do_not_pause_it() -> None:
    """Nor do those of what was cancelled while it ran."""
    queue = WorkQueue()
    for number in range(12):
        queue.submit(Item(id=str(number), task="t"), 0, bound=10)
        queue.sent(str(number), "receipt", 0)
        queue.running[str(number)].is_unwanted = number >= 6
        queue.end(str(number), "timed_out", "", 2.5 * min(number, 6), _RULE)
    assert (queue.paused, queue.errors) == ("", [10.0, 12.5])
    assert [one.end for one in queue.ended.values()] == ["timed_out"] * 6 + ["cancelled"] * 6
    assert queue.ended["6"].why == "cancelled while it ran"
