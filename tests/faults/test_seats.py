"""The prefork pool is handed as many messages as it has children, whatever becomes of those."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from hardening.core.deployment import client_of, settings_of
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from tests.faults.rig import Rig, Worker

pytestmark = pytest.mark.one_server

_CONCURRENCY = 2


@contextmanager
def _watching_begun(producer: Celery) -> Iterator[list[int]]:
    """How many messages the one consumer has begun and not settled, each time anew, a few hundred times a second."""
    client: Any = client_of(producer)
    keys = settings_of(producer).keys
    (consumer,) = client.zrange(keys.leases, 0, -1)
    seen: list[int] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.002):
            seen.append(int(client.hlen(keys.started(consumer.decode()))))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join(10)


def _is_full(rig: Rig, keys: list[str]) -> bool:
    """Whether as many of these run as there are children."""
    began, done = rig.count("began"), rig.count("done")
    return sum(began[key] - done[key] for key in keys) == _CONCURRENCY


def _all_children(worker: Worker) -> list[int]:
    """The children, once as many are there as there should be: after a kill it may be one fewer for a moment."""
    children = worker.children()
    return children if len(children) == _CONCURRENCY else []


def _kill_child(rig: Rig, worker: Worker, turn: int) -> None:
    """Kills one child and waits for the one that takes its place."""
    before = eventually(lambda: _all_children(worker), 10)
    os.kill(before[turn % _CONCURRENCY], signal.SIGKILL)
    rig.kills += 1
    eventually(lambda: len(set(worker.children()) - set(before)) == 1, 10)


def test_no_more_is_begun_than_there_are_children_however_many_of_them_are_killed(rig: Rig) -> None:
    """A child that takes no task along gives nothing back; one that does gives back one: six kills, then all runs."""
    keys = [f"k{number}" for number in range(200)]
    longs = [f"long{number}" for number in range(4)]
    producer = rig.producer()
    worker = rig.ready(rig.start("prefork", _CONCURRENCY))
    rig.send(producer, "work", keys[:100], 0.05)
    rig.send(producer, "hang", ["hang"])
    rig.send(producer, "work", keys[100:], 0.05)
    with _watching_begun(producer) as begun:
        for turn in range(6):
            rig.await_progress(15 + 20 * turn)
            _kill_child(rig, worker, turn)
        rig.await_done(keys)
        for turn in range(6):  # idle now
            _kill_child(rig, worker, turn)
        rig.send(producer, "work", longs, 1.0)
        eventually(lambda: _is_full(rig, longs), 10)
        rig.await_done([*keys, *longs])
    assert max(begun) == _CONCURRENCY
    settled = rig.settled()
    assert settled.counters["acked"] == len(keys) + len(longs)
    assert settled.counters["dead"] == 1
    assert settled.counters.get("crashes", 0) <= 6
    assert rig.duplicates() <= 6
    producer.close()


def test_no_more_is_begun_than_there_are_children_when_these_are_recycled(rig: Rig) -> None:
    """``worker_max_tasks_per_child``: each child leaves after three tasks, and none of those is counted twice."""
    keys = [f"k{number}" for number in range(60)]
    longs = [f"long{number}" for number in range(4)]
    producer = rig.producer()
    rig.ready(rig.start("prefork", _CONCURRENCY, faults_max_tasks_per_child="3"))
    with _watching_begun(producer) as begun:
        rig.send(producer, "work", keys, 0.02)
        rig.await_done(keys)
        rig.send(producer, "work", longs, 1.0)
        eventually(lambda: _is_full(rig, longs), 10)
        rig.await_done([*keys, *longs])
    assert max(begun) == _CONCURRENCY
    assert rig.settled().counters["acked"] == len(keys) + len(longs)
    assert rig.duplicates() == 0
    producer.close()
