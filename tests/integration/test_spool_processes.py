"""The spool among several processes: who writes, who flushes, who forks, who dies."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from tests.forked import forked
from tests.integration.spooling import publication, receipts, spool_at, writer

if TYPE_CHECKING:
    from pathlib import Path

    from hardening.delivery.spool import Spool

pytestmark = pytest.mark.one_server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where nothing is yet."""
    return tmp_path / "state" / "celery-hardening" / "shop.spool"


@pytest.fixture
def spool(path: Path) -> Spool:
    """An empty spool."""
    return spool_at(path)


def test_one_at_a_time_flushes(spool: Spool, path: Path) -> None:
    """In this process and in others; whoever waits gets it when it is free."""
    spool.put(publication())
    other = spool_at(path)
    with spool.flushing() as first, other.flushing() as second:
        assert (first, second) == (True, False)
        release = threading.Timer(0.2, lambda: None)
        release.start()
    with other.flushing(5) as alone:
        assert alone
        with spool.flushing(0.05) as third:
            assert not third
    release.join()


def test_a_lock_goes_with_the_process_that_holds_it(spool: Spool, path: Path) -> None:
    """Also when a child that it forked meanwhile lives on."""
    spool.put(publication())
    ready, wait = os.pipe(), os.pipe()
    holder = os.fork()
    if holder == 0:
        signal.alarm(30)
        with spool_at(path).flushing() as alone:
            if os.fork() == 0:
                signal.alarm(30)
                os.write(ready[1], b"y" if alone else b"n")
                os.read(wait[0], 1)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.read(ready[0], 1) == b"y"
    os.waitpid(holder, 0)
    try:
        with spool.flushing(5) as alone:
            assert alone
    finally:
        os.write(wait[1], b"x")
        for end in (*ready, *wait):
            os.close(end)


def test_no_connection_crosses_a_fork(spool: Spool) -> None:
    """The child opens one of its own, and the parent another; SQLite's would be torn between them."""
    spool.put(before := publication())
    opened = spool._file._connection

    def put() -> bool:
        was_closed = spool._file._connection is None
        spool.put(publication(receipt="c" * 36))
        return was_closed

    assert forked(put) == 0
    spool.put(after := publication())
    assert spool._file._connection is not opened
    assert sorted(receipts(spool)) == sorted([before.receipt, after.receipt, "c" * 36])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_waits_for_a_transaction(spool: Spool) -> None:
    """A thread that writes while another forks ends its write in the parent, and leaves the child a free lock."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            spool.put(publication())

    thread = threading.Thread(target=write)
    thread.start()
    codes = [forked(lambda: spool.put(publication(task="child"))) for _ in range(10)]
    stop.set()
    thread.join(10)
    assert codes == [0] * 10
    assert [spooled.publication.task for spooled in spool.messages()].count("child") == 10


def test_ten_processes_write_at_once(path: Path) -> None:
    """The file is made once; nothing is lost, and each process's messages are in its order."""
    writers = [writer(path, f"w{at}", 30) for at in range(10)]
    for process in writers:
        _, told = process.communicate(timeout=100)
        assert process.returncode == 0, told
    tasks = [spooled.publication.task for spooled in spool_at(path).messages()]
    assert len(tasks) == 300
    for at in range(10):
        assert [task for task in tasks if task.startswith(f"w{at}.")] == [f"w{at}.{number}" for number in range(30)]


@pytest.mark.parametrize("seed", range(3))
def test_a_message_that_was_accepted_survives_the_death_of_its_sender(path: Path, seed: int) -> None:
    """SIGKILL after some number of messages: all that were told to be kept are, and at most one more."""
    process = writer(path, "w", 10_000)
    assert process.stdout is not None
    for _ in range(10 + 17 * seed):
        process.stdout.readline()
    process.kill()
    told = 10 + 17 * seed + len(process.stdout.read().splitlines())  # communicate() forgets what was read ahead
    process.communicate(timeout=30)
    tasks = [spooled.publication.task for spooled in spool_at(path).messages()]
    assert tasks == [f"w.{at}" for at in range(len(tasks))]
    assert told <= len(tasks) <= told + 1


def test_a_file_that_another_is_just_making_is_waited_for(spool: Spool, path: Path) -> None:
    """SQLite refuses at once to change to WAL while somebody else is about to write."""
    path.parent.mkdir(parents=True)
    path.touch(0o600)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, other.execute, ("COMMIT",))
    timer.start()
    spool.put(publication())
    timer.join()
    other.close()
    assert len(receipts(spool)) == 1
