"""The flusher: in order, each message once, whatever dies in between, and nothing holds up what is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from redis.exceptions import RedisError

from hardening import harden
from hardening.core import telemetry
from hardening.core.deployment import client_of
from hardening.core.outage import MessageRefused, SpoolFlushed
from hardening.delivery.fallback import Fallback, fallback_of
from hardening.delivery.flusher import Flusher, Report
from hardening.delivery.receipt import Receipt
from tests.eventually import eventually
from tests.integration.spooling import publication, receipts
from tests.integration.stage import State
from tests.undertaker import Undertaker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
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


def flushing_keys(stage: Stage) -> list[bytes]:
    """What Redis still remembers of flushes."""
    return list(stage.client.scan_iter(f"{stage.prefix}:flushing:*"))


def run_killed(flusher: Flusher, spool: Spool, monkeypatch: pytest.MonkeyPatch, *, done: bool) -> None:
    """Flushes one batch and ends there, before the spool forgets it, or right after."""
    settle = spool.settle

    def die(*args: Any, **kwargs: Any) -> None:
        if done:
            settle(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(spool, "settle", die)
        with pytest.raises(Killed):
            flusher.run_once()


def test_what_was_spooled_is_published_in_order(app: Celery, stage: Stage, spool: Spool, flusher: Flusher) -> None:
    """More than a batch; with receipts that say what the sender said; and then there is nothing left anywhere."""
    put = fill(spool, f"{stage.prefix}.q", 250)
    with telemetry.capture("hardening.spool") as events:
        assert flusher.run_once() == Report(flushed=250)
    ids = [one.receipt for one in put]
    assert stage.state() == State(queued={"q": ids}, rung={"q"})
    assert stage.ledger().counters == {"published": 250}
    details = Receipt(put[7].receipt, app).details()
    assert (details["task"], details["queue"], details["state"]) == ("shop.charge", f"{stage.prefix}.q", "queued")
    assert (receipts(spool), flushing_keys(stage)) == ([], [])
    assert events == [SpoolFlushed(flushed=250, repeated=0, refused=0, left=0)]
    assert flusher.run_once() == Report()


@pytest.mark.parametrize("done", [False, True], ids=["before-it-forgot", "after-it-forgot"])
@pytest.mark.parametrize("forgotten", [False, True], ids=["receipts-kept", "receipts-expired"])
def test_a_flusher_that_is_killed_repeats_nothing(
    stage: Stage, spool: Spool, flusher: Flusher, monkeypatch: pytest.MonkeyPatch, *, done: bool, forgotten: bool
) -> None:
    """However much later the next one comes: what it has to remember does not expire as receipts do."""
    put = fill(spool, f"{stage.prefix}.q", 130)
    run_killed(flusher, spool, monkeypatch, done=done)
    assert stage.ledger().counters == {"published": 100}
    assert len(receipts(spool)) == (30 if done else 130)
    ((mark,),) = [flushing_keys(stage)]
    assert stage.client.ttl(mark) == -1
    if forgotten:
        for one in put:
            stage.client.delete(stage.keys.delivery(one.receipt), stage.keys.changes(one.receipt))
    assert flusher.run_once() == Report(flushed=30 if done else 130, repeated=0 if done else 100)
    assert stage.state() == State(queued={"q": [one.receipt for one in put]}, rung={"q"})
    assert stage.ledger().counters == {"published": 130}
    assert (receipts(spool), flushing_keys(stage)) == ([], [])


def test_messages_that_were_run_meanwhile_are_not_run_again(
    app: Celery, stage: Stage, spool: Spool, flusher: Flusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acked, and its receipt expired, between the two halves of a flush."""
    fill(spool, app.conf.task_default_queue, 3)
    run_killed(flusher, spool, monkeypatch, done=False)
    undertaker = Undertaker(app)
    undertaker.ack(undertaker.take())
    for key in stage.client.scan_iter(f"{stage.prefix}:delivery:*"):
        stage.client.delete(key)
    assert flusher.run_once() == Report(flushed=3, repeated=3)
    assert stage.ledger().counters == {"published": 3, "acked": 3}
    assert undertaker.take() == []


def test_what_the_sender_had_published_without_knowing_is_one_message(
    app: Celery, stage: Stage, spool: Spool, flusher: Flusher
) -> None:
    """Its receipt tells."""
    one = publication(f"{stage.prefix}.q")
    one.call(stage.scope).run(client_of(app))
    spool.put(one, is_uncertain=True)
    assert flusher.run_once() == Report(flushed=1, repeated=1)
    assert stage.state() == State(queued={"q": [one.receipt]}, rung={"q"})
    assert stage.ledger().counters == {"published": 1}


def brief(server: EmbeddedRedis, prefix: str, queue: str) -> Celery:
    """An app that keeps receipts for a second."""
    app = Celery("brief", broker=server.broker_url, set_as_current=False)
    app.conf.update(task_default_queue=queue, hardening_prefix=prefix, hardening_receipt_ttl_s=1)
    return harden(app)


def test_what_nobody_can_know_any_more_is_set_aside(
    server: EmbeddedRedis, prefix: str, queue: str, stage: Stage
) -> None:
    """Perhaps published, by a receipt that has expired: neither lost nor run twice. A person decides."""
    fallback = fallback_of(brief(server, prefix, queue))
    doubtful, sure = publication(f"{prefix}.q"), publication(f"{prefix}.q")
    fallback.spool.put(doubtful, is_uncertain=True)
    fallback.spool.put(sure)
    eventually(lambda: fallback.spool.batch()[0].age_s > 1.05)
    assert fallback.flusher.run_once() == Report(flushed=1, refused=1)
    assert stage.state() == State(queued={"q": [sure.receipt]}, rung={"q"})
    (aside,) = fallback.spool.messages(refused=True)
    assert (aside.receipt, aside.attempts) == (doubtful.receipt, 1)
    assert "the receipt that would tell is no longer kept: see whether it ran, then purge it" in aside.error
    assert fallback.spool.retry_refused() == 1
    assert fallback.flusher.run_once() == Report(flushed=1)
    assert stage.ledger().counters == {"published": 2}


def test_what_redis_refuses_for_good_holds_up_nothing(
    app: Celery, stage: Stage, spool: Spool, flusher: Flusher
) -> None:
    """A key of another type where the list should be: set aside, told, and whole when it is tried again."""
    stage.client.set(f"{stage.prefix}.bad", "a string")
    (first,) = fill(spool, f"{stage.prefix}.q", 1)
    (bad,) = fill(spool, f"{stage.prefix}.bad", 1, task="shop.bad")
    (last,) = fill(spool, f"{stage.prefix}.q", 1)
    with telemetry.capture("hardening.message") as events:
        assert flusher.run_once() == Report(flushed=2, refused=1)
    (event,) = events
    assert isinstance(event, MessageRefused)
    assert (event.receipt, event.task, event.queue) == (bad.receipt, "shop.bad", f"{stage.prefix}.bad")
    assert "WRONGTYPE" in event.error
    assert stage.state() == State(queued={"q": [one.receipt for one in (first, last)]}, rung={"q"})
    (aside,) = spool.messages()
    assert (aside.receipt, aside.is_refused, aside.attempts, aside.error) == (bad.receipt, True, 1, event.error)
    assert Receipt(bad.receipt, app).status() == "spooled"
    assert flusher.run_once() == Report()
    stage.client.delete(f"{stage.prefix}.bad")
    assert spool.retry_refused([bad.receipt]) == 1
    assert flusher.run_once() == Report(flushed=1)
    assert Receipt(bad.receipt, app).status() == "queued"
    assert stage.ledger().counters == {"published": 3}


@pytest.mark.parametrize("trouble", ["full", "replica", "denied"])
def test_what_redis_refuses_for_its_own_sake_stays_in_line(
    own: EmbeddedRedis, prefix: str, queue: str, trouble: str
) -> None:
    """It is not the message's fault: the run ends, and the next one begins with the same message."""
    app = Celery("app", broker=own.broker_url, set_as_current=False)
    app.conf.update(task_default_queue=queue, hardening_prefix=prefix)
    fallback = fallback_of(harden(app))
    put = fill(fallback.spool, queue, 3)
    with own.client() as client:
        cause, cure = {
            "full": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
            "replica": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
            "denied": (("ACL", "SETUSER", "default", "-evalsha", "-eval"), ("ACL", "SETUSER", "default", "+@all")),
        }[trouble]
        client.execute_command(*cause)
        report = fallback.flusher.run_once()
        assert (report.flushed, report.refused, report.left) == (0, 0, 3)
        assert report.error
        first, *others = fallback.spool.messages()
        assert (first.attempts, first.error, first.is_refused) == (1, report.error, False)
        assert [(one.attempts, one.error) for one in others] == [(0, ""), (0, "")]
        client.execute_command(*cure)
        assert fallback.flusher.run_once() == Report(flushed=3)
        expected: Any = client.lrange(queue, 0, -1)
        assert expected[::-1] == [one.raw for one in put]


@pytest.fixture
def own(binary: str) -> Iterator[EmbeddedRedis]:
    """A Redis of this test's own, to be ill-treated."""
    from hardening.core.embedded import EmbeddedRedis  # noqa: PLC0415

    with EmbeddedRedis(server=binary, port=0) as running:
        yield running


def test_a_key_that_is_denied_is_the_messages_own(own: EmbeddedRedis, prefix: str) -> None:
    """Other queues go on."""
    app = Celery("app", broker=own.broker_url, set_as_current=False)
    app.conf.hardening_prefix = prefix
    fallback = fallback_of(harden(app))
    fill(fallback.spool, "secret", 1)
    fill(fallback.spool, f"{prefix}.q", 1)
    with own.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "resetkeys", f"~{prefix}*")
        assert fallback.flusher.run_once() == Report(flushed=1, refused=1)
        assert client.llen(f"{prefix}.q") == 1


def test_an_eta_that_has_passed_is_now_and_one_that_has_not_is_kept(
    stage: Stage, spool: Spool, flusher: Flusher
) -> None:
    """By the clock of Redis."""
    (due,) = fill(spool, f"{stage.prefix}.q", 1, due_ms=stage.now_ms() - 5000)
    (later,) = fill(spool, f"{stage.prefix}.q", 1, due_ms=stage.now_ms() + 60_000)
    assert flusher.run_once() == Report(flushed=2)
    assert stage.state() == State(queued={"q": [due.receipt]}, scheduled=[later.receipt], rung={"q"})


def test_a_redis_that_is_away_ends_the_run(queue: str) -> None:
    """And the message that found out says so; those behind it wait untried."""
    app = Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False)
    fallback = fallback_of(harden(app))
    fill(fallback.spool, queue, 2)
    report = fallback.flusher.run_once()
    assert (report.flushed, report.left, report.error.partition(":")[0]) == (0, 2, "ConnectionError")
    assert [(one.attempts, one.error) for one in fallback.spool.messages()] == [(1, report.error), (0, "")]


def test_a_redis_that_goes_away_before_it_forgets_costs_nothing(
    stage: Stage, spool: Spool, flusher: Flusher, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some ids stay until the next batch."""
    fill(spool, f"{stage.prefix}.q", 2)
    client: Redis = client_of(app)

    def away(*_: Any) -> None:
        raise RedisError(_DENIED)

    with monkeypatch.context() as patch:
        patch.setattr(client, "delete", away)
        assert flusher.run_once() == Report(flushed=2, error=f"RedisError: {_DENIED}")
    assert len(flushing_keys(stage)) == 1
    fill(spool, f"{stage.prefix}.q", 1)
    assert flusher.run_once() == Report(flushed=1)
    assert flushing_keys(stage) == []
