"""The count of what a pool may be handed: right after any order of ends, growing and shrinking."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from hardening.worker.seats import Seats, give_back_at_end
from hardening.worker.steps import BeginStep


class _Pool:
    """A pool whose jobs end when a test says so."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.on_apply = self.apply

    def apply(self, target: object, _args: object, _kwargs: object, **options: Any) -> object:
        """Takes a job, unless it is None."""
        if target is None:
            raise ValueError("no such job")
        self.jobs.append(options)
        return target


def test_what_billiard_gives_back_is_not_counted() -> None:
    """It gives back one seat for each child that exits, whoever took what."""
    seats, handed = Seats(2), list[str]()
    for name in "abcd":
        seats.acquire(handed.append, name)
    for _ in range(5):
        seats.release()
    assert (handed, seats.value) == (["a", "b"], 0)
    seats.give_back()
    assert handed == ["a", "b", "c"]


def test_no_more_is_handed_over_than_there_is_room_for_whatever_the_order() -> None:
    """Tasks come and end and the pool changes its size, at random, two thousand times; a full pool has no idle seat."""
    chance = random.Random(11)
    for _ in range(20):
        size = chance.randint(1, 4)
        seats, handed, came, ended = Seats(size), list[int](), 0, 0
        for _ in range(100):
            deed = chance.choice(["come", "come", "end", "end", "grow", "shrink"])
            running = len(handed) - ended
            if deed == "come":
                came += 1
                seats.acquire(handed.append, came)
            elif deed == "end" and running:
                ended += 1
                seats.give_back()
            elif deed == "grow":
                seats.grow()
                size += 1
            elif deed == "shrink" and size > 1:
                seats.shrink()
                size -= 1
            now = len(handed) - ended
            assert now <= max(size, running)
            assert now >= min(size, came - ended)
            assert handed == list(range(1, len(handed) + 1))
            assert (seats.initial_value, seats.value) == (size, max(0, size - now))
            assert seats.debt == max(0, now - size)


def test_a_pool_that_closes_is_handed_nothing_more() -> None:
    """What waited is forgotten: its messages have gone back."""
    seats, handed = Seats(2), list[str]()
    for name in "abc":
        seats.acquire(handed.append, name)
    seats.shrink()
    seats.clear()
    seats.give_back()
    assert (handed, seats.value, seats.debt) == (["a", "b"], 1, 0)


@pytest.mark.parametrize("end", ["callback", "error_callback"])
def test_the_seat_of_a_task_is_given_back_once_when_it_has_ended(end: str) -> None:
    """After its own callback, so after its ack, and not again when it is told of a second end."""
    pool, seats = _Pool(), Seats(1)
    give_back_at_end(pool, seats)
    seats.acquire(lambda: None)
    told: list[tuple[object, int]] = []
    callbacks: dict[str, Any] = {end: lambda outcome: told.append((outcome, seats.value))}
    assert pool.on_apply("job", (), {}, waitforslot=False, **callbacks) == "job"
    (job,) = pool.jobs
    assert job["waitforslot"] is False
    assert seats.value == 0
    job[end]("outcome")
    assert (told, seats.value) == ([("outcome", 0)], 1)
    seats.acquire(lambda: None)
    job["callback"]("outcome")
    job["error_callback"]("outcome")
    assert seats.value == 0


@pytest.mark.parametrize("end", ["callback", "error_callback"])
def test_a_seat_is_given_back_when_the_callback_raises(end: str) -> None:
    """Or the pool would be stuck one task short for good."""
    pool, seats = _Pool(), Seats(1)
    give_back_at_end(pool, seats)
    seats.acquire(lambda: None)
    callbacks: dict[str, Any] = {end: {}.__getitem__}
    pool.on_apply("job", (), {}, **callbacks)
    with pytest.raises(KeyError):
        pool.jobs[0][end]("outcome")
    assert seats.value == 1


def test_a_seat_is_given_back_when_the_pool_refuses_the_task() -> None:
    """It will have no end."""
    pool, seats = _Pool(), Seats(1)
    give_back_at_end(pool, seats)
    seats.acquire(lambda: None)
    with pytest.raises(ValueError, match="no such job"):
        pool.on_apply(None, (), {})
    assert seats.value == 1


class _Request:
    """A request that begins, does not, or cannot."""

    def __init__(self, outcome: bool | Exception) -> None:
        self._outcome = outcome

    def begin(self) -> bool:
        """As told."""
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def _worker(handed: list[object]) -> Any:
    """A worker whose prefork pool has two processes, with the step's work done up to the start of the pool."""
    worker = SimpleNamespace(
        pool_putlocks=True, use_eventloop=True, pool_cls=type("Prefork", (), {"uses_semaphore": True}),
        semaphore=SimpleNamespace(initial_value=2), pool=SimpleNamespace(options={}), _process_task=handed.append,
    )  # fmt: skip
    worker._process_task_sem = lambda request: worker._quick_acquire(worker._process_task, request)
    BeginStep(worker).create(worker)
    return worker


def test_a_task_keeps_its_seat_until_it_ends() -> None:
    """The pool is given the same count as the worker."""
    handed: list[object] = []
    worker = _worker(handed)
    requests = [_Request(outcome=True) for _ in range(3)]
    for request in requests:
        worker.process_task(request)
    assert handed == requests[:2]
    assert worker.pool.options["semaphore"] is worker.semaphore
    worker._quick_release()
    assert handed == requests


def test_a_task_that_may_not_begin_gives_its_seat_to_the_next() -> None:
    """It was taken away."""
    handed: list[object] = []
    worker = _worker(handed)
    worker.process_task(_Request(outcome=False))
    assert (handed, worker.semaphore.value) == ([], 2)


def test_a_seat_is_given_back_when_beginning_fails() -> None:
    """Redis is away, and the worker will come back with its pool as it is."""
    handed: list[object] = []
    worker = _worker(handed)
    with pytest.raises(ConnectionError):
        worker.process_task(_Request(ConnectionError("gone")))
    assert (handed, worker.semaphore.value) == ([], 2)
