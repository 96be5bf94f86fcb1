"""Redis goes away under senders, and senders and flushers die: what was told to be safe runs once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from hardening import Receipt, harden
from hardening.core.ledger import read_ledger
from hardening.delivery.fallback import fallback_of
from tests.eventually import eventually
from tests.forked import forked
from tests.integration.spooling import publication, receipts
from tests.undertaker import Undertaker

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis
    from hardening.delivery.publication import Publication
    from tests.faults.rig import Rig

_ROOT = Path(__file__).parents[2]
AWAY = "redis://127.0.0.1:1/0"


def sender(broker: str, prefix: str, name: str, count: int, pause_s: float = 0.0) -> subprocess.Popen[str]:
    """A process that sends."""
    command = [sys.executable, "-m", "tests.faults.spool_sender", broker, prefix, name, str(count), str(pause_s)]
    return subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told_by(process: subprocess.Popen[str], count: int) -> dict[str, str]:
    """The keys that a sender was told are safe, with their receipts, after so many sends."""
    assert process.stdout is not None
    lines = [process.stdout.readline().split() for _ in range(count)]
    return {key: receipt for key, receipt in lines if receipt != "-"}


@pytest.mark.one_server
def test_what_senders_were_told_is_safe_runs_once_though_redis_dies_again_and_again(
    own_rig: tuple[Rig, EmbeddedRedis],
) -> None:
    """Ten processes send, Redis is killed three times and comes back; nobody does anything else about it."""
    rig, broker = own_rig
    rig.ready(rig.start("threads", 2))
    each, processes = 45, 10
    senders = [sender(rig.broker, rig.prefix, f"s{number}", each, 0.1) for number in range(processes)]
    told: dict[str, str] = {}
    mutex = threading.Lock()

    def listen(process: subprocess.Popen[str]) -> None:
        heard = told_by(process, each)
        with mutex:
            told.update(heard)

    listeners = [threading.Thread(target=listen, args=(process,)) for process in senders]
    for listener in listeners:
        listener.start()
    try:
        for down_s in (0.3, 1.5, 0.6):
            rig.await_progress(rig.done() + 20)
            broker.kill()
            threading.Event().wait(down_s)
            broker.restart()
        for listener in listeners:
            listener.join(120)
        assert len(told) == each * processes
        rig.await_done(list(told), 60)
        fallback = fallback_of(rig.producer())
        eventually(lambda: not receipts(fallback.spool), 30)
        assert fallback.spool.path.exists()  # something was spooled at all
        assert rig.duplicates() == 0
        assert rig.settled(20).counters["acked"] == each * processes
        app = rig.producer()
        assert {Receipt(receipt, app).status() for receipt in told.values()} == {"acked"}
    finally:
        for process in senders:
            process.communicate(timeout=20)


@pytest.mark.parametrize("seed", [3, 17])
def test_a_message_is_in_the_spool_the_moment_its_sender_was_told(prefix: str, seed: int) -> None:
    """SIGKILL right after ``supervised_send`` returned, once after few sends and once after more."""
    process = sender(AWAY, prefix, "s", 10_000)
    told = told_by(process, seed)
    process.kill()
    assert process.stdout is not None
    rest = process.stdout.read()  # communicate() forgets what was read ahead
    process.communicate(timeout=20)
    told |= dict(line.split() for line in rest.splitlines() if line.count(" ") == 1)
    app = Celery("after", broker=AWAY, set_as_current=False)
    app.conf.hardening_prefix = prefix
    kept = [row.receipt for row in fallback_of(harden(app)).spool.messages()]
    assert kept[: len(told)] == list(told.values())
    assert len(kept) <= len(told) + 1
    assert Receipt.load(kept[-1], app=app).status() == "spooled"


def flush_and_die(app: Celery, after: int) -> bool:
    """Flushes in a process that is killed at its so-manieth call of a function; returns whether it got that far."""

    def count(*_: object) -> None:
        nonlocal after
        after -= 1
        if after <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def flush() -> bool:
        flusher = fallback_of(app).flusher
        sys.setprofile(count)
        return not flusher.run_once(patience_s=10).error

    code = forked(flush)
    assert code in (0, -signal.SIGKILL)
    return code != 0


@pytest.mark.one_server
@pytest.mark.parametrize("seed", [1])
def test_a_flusher_that_is_killed_fifty_times_loses_and_repeats_nothing(app: Celery, seed: int) -> None:
    """Between any two calls, with every receipt expired in between, and with a worker that takes what there is."""
    chance = random.Random(seed)
    spool, kills = fallback_of(app).spool, 0
    sent: list[Publication] = []
    ran: list[bytes] = []
    undertaker = Undertaker(app)

    def run_what_there_is() -> None:
        taken = undertaker.take()
        undertaker.ack(taken)
        ran.extend(message.raw for message in taken)
        for key in undertaker.client.scan_iter(f"{undertaker.keys.prefix}:delivery:*", count=1000):
            undertaker.client.delete(key)

    while kills < 50:
        for _ in range(40 - len(receipts(spool))):
            sent.append(publication(app.conf.task_default_queue))
            spool.put(sent[-1])
        kills += flush_and_die(app, chance.randrange(1, 12_000))
        run_what_there_is()
    assert not fallback_of(app).flusher.run_once(patience_s=10).error
    run_what_there_is()
    assert ran == [one.raw for one in sent]
    ledger = read_ledger(undertaker.client, undertaker.keys)
    assert ledger.is_balanced
    assert (ledger.counters["published"], ledger.counters["acked"]) == (len(sent), len(sent))


@pytest.mark.one_server
def test_a_worker_flushes_what_dead_senders_left(own_rig: tuple[Rig, EmbeddedRedis]) -> None:
    """It starts on the same host some time later, and nobody sends."""
    rig, broker = own_rig
    broker.kill()
    process = sender(rig.broker, rig.prefix, "s", 25)
    told = told_by(process, 25)
    process.kill()
    process.communicate(timeout=20)
    assert len(told) == 25
    broker.restart()
    rig.ready(rig.start("prefork", 2))
    rig.await_done(list(told), 40)
    assert rig.duplicates() == 0
    assert rig.settled().counters == {"published": 25, "acked": 25}
