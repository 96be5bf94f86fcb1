"""The flusher as a service: one at a time, started and stopped at will, and resumed by the next process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from hardening import harden
from hardening.core import telemetry
from hardening.core.deployment import settings_of
from hardening.core.errors import SpoolError
from hardening.core.outage import SpoolFailed
from hardening.delivery.fallback import Fallback, fallback_of
from hardening.delivery.flusher import Flusher, Report
from tests.eventually import eventually
from tests.integration.spooling import publication, receipts

if TYPE_CHECKING:
    from hardening.delivery.publication import Publication
    from hardening.delivery.spool import Spool
    from tests.integration.stage import Stage

pytestmark = pytest.mark.one_server

_DENIED = "AWAY"


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def fallback(app: Celery) -> Fallback:
    """What the app falls back on."""
    return fallback_of(app)


@pytest.fixture
def spool(fallback: Fallback) -> Spool:
    """The app's spool."""
    return fallback.spool


@pytest.fixture
def flusher(fallback: Fallback) -> Flusher:
    """Its flusher."""
    return fallback.flusher


def fill(spool: Spool, queue: str, count: int, **options: Any) -> list[Publication]:
    """Puts messages for a queue."""
    put = [publication(queue, **options) for _ in range(count)]
    for one in put:
        spool.put(one)
    return put


def test_while_another_flushes_nothing_is_done(stage: Stage, spool: Spool, flusher: Flusher) -> None:
    """Two would take each other's order."""
    fill(spool, f"{stage.prefix}.q", 2)
    with spool.flushing() as alone:
        assert alone
        assert flusher.run_once() == Report(left=2, is_elsewhere=True)
        fill(spool, f"{stage.prefix}.q", 1)
    assert flusher.run_once() == Report(flushed=3)


def test_many_flushers_at_once_publish_each_message_once(app: Celery, stage: Stage, spool: Spool) -> None:
    """In as many threads, while others are still being spooled."""
    fill(spool, f"{stage.prefix}.q", 150)
    flushers = [Flusher(app, spool) for _ in range(6)]
    reports: list[Report] = []
    threads = [threading.Thread(target=lambda one=one: reports.append(one.run_once(patience_s=20))) for one in flushers]
    for thread in threads:
        thread.start()
    fill(spool, f"{stage.prefix}.q", 50)
    for thread in threads:
        thread.join(30)
    reports.append(flushers[0].run_once())
    assert sum(report.flushed for report in reports) == 200
    assert sum(report.repeated for report in reports) == 0
    assert stage.ledger().counters == {"published": 200}
    assert receipts(spool) == []


def test_it_starts_and_stops_as_often_as_it_is_told(stage: Stage, spool: Spool, flusher: Flusher) -> None:
    """One thread at most; what comes later is found; after the end nothing is touched."""
    flusher.stop()
    assert not flusher.is_running
    for _ in range(3):
        flusher.start()
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("hardening-spool") == 1
    fill(spool, f"{stage.prefix}.q", 1)
    flusher.start()
    eventually(lambda: not receipts(spool))
    flusher.stop()
    flusher.stop()
    assert not flusher.is_running
    fill(spool, f"{stage.prefix}.q", 1)
    assert len(receipts(spool)) == 1
    flusher.start()
    eventually(lambda: not receipts(spool))
    assert stage.ledger().counters == {"published": 2}


def test_starting_and_stopping_from_many_threads_leaves_one_or_none(flusher: Flusher) -> None:
    """Whoever is last has the word."""

    def toggle() -> None:
        for _ in range(20):
            flusher.start()
            flusher.stop()

    threads = [threading.Thread(target=toggle) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    eventually(lambda: "hardening-spool" not in [thread.name for thread in threading.enumerate()])
    assert not flusher.is_running


def test_a_flush_that_was_told_to_stop_stops_between_two_messages(stage: Stage, spool: Spool, flusher: Flusher) -> None:
    """What it has done is settled."""
    fill(spool, f"{stage.prefix}.q", 5)
    stopping = threading.Event()
    stopping.set()
    assert flusher.run_once(stopping=stopping) == Report(left=5)
    assert stage.ledger().counters == {}


def test_a_spool_that_cannot_be_read_is_told_and_tried_again(stage: Stage, spool: Spool, flusher: Flusher) -> None:
    """The thread outlives it."""
    put = fill(spool, f"{stage.prefix}.q", 1)
    spool._file.close()
    good = spool.path.read_bytes()
    spool.path.write_bytes(b"junk" * 1000)
    with pytest.raises(SpoolError, match="damaged"):
        flusher.run_once()
    with telemetry.capture("hardening.spool") as events:
        flusher.start()
        eventually(lambda: events)
    assert isinstance(events[0], SpoolFailed)
    spool.path.write_bytes(good)
    eventually(lambda: stage.client.llen(put[0].list_key))
    assert stage.ledger().counters == {"published": 1}


def test_a_new_process_resumes_what_an_earlier_one_left(app: Celery, stage: Stage, spool: Spool) -> None:
    """The first send, or the first look at a receipt, is enough; an empty spool starts nothing."""
    assert not fallback_of(app).flusher.is_running
    fill(spool, f"{stage.prefix}.q", 2)
    later = Celery("later", broker=app.conf.broker_url, set_as_current=False)
    later.conf.hardening_prefix = settings_of(app).prefix
    resumed = fallback_of(harden(later))
    eventually(lambda: not receipts(spool))
    resumed.flusher.stop()
    assert stage.ledger().counters == {"published": 2}
