"""What a consumer holds and somebody wants cancelled: given up if it has not begun, exactly then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.core import telemetry
from hardening.core.scripts import Death, Scope, Taken
from hardening.core.settings import Settings
from hardening.transport.book import Book
from hardening.transport.revoking import Revoker
from tests.integration.stage import long

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from hardening.transport.held import Held
    from tests.integration.stage import Stage


@pytest.fixture
def book(client: Redis, stage: Stage) -> Iterator[Book]:
    """A book with a lease that nobody renews."""
    book = Book(client, Scope(stage.keys, 60_000, "test"), Settings(prefix=stage.prefix))
    book.lease.renew()
    yield book
    book.close()


@pytest.fixture
def revoker(client: Redis, stage: Stage, book: Book) -> Revoker:
    """Its revoker."""
    return Revoker(client, stage.by("test"), book)


def take(book: Book, stage: Stage, *names: str) -> list[Held]:
    """Has the book hold new messages with receipts."""
    for name in names:
        stage.publish(name, receipt=f"r-{name}")
    call, consumer = book.take_call([stage.list_key()], len(names))
    return book.admit(Taken.parse(stage.run(call), [stage.list_key()]), consumer)


def test_what_has_not_begun_is_given_up_and_nothing_else(book: Book, stage: Stage, revoker: Revoker) -> None:
    """It can neither be begun nor buried any more; what runs, and what nobody asks for, stays."""
    running, wanted, other = take(book, stage, "running", "wanted", "other")
    assert book.begin([running]) == [True]
    assert [stage.cancel(f"r-{name}").said for name in ("running", "wanted")] == ["started", "claimed"]
    assert revoker.run_once() == 1
    assert (running.cancelled, wanted.cancelled, other.cancelled) == (False, True, False)
    assert (book.size, book.waiting) == (2, 1)
    assert book.begin([wanted, other]) == [False, True]
    book.bury(wanted, Death("failed"))
    assert stage.receipt("r-wanted") == ("dead", "test", "cancelled")
    book.ack(running)
    book.ack(other)
    assert stage.ledger().counters == {"published": 3, "purged": 1, "acked": 2}
    assert revoker.run_once() == 0


def test_what_was_begun_a_moment_ago_is_not_given_up(
    book: Book, client: Redis, stage: Stage, revoker: Revoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has not heard of it yet, and so believes that it only waits: only the book knows."""
    (held,) = take(book, stage, "m")
    monkeypatch.setattr(book, "flush", lambda: True)
    assert book.begin([held]) == [True]
    assert stage.cancel("r-m").said == "claimed"
    assert revoker.run_once() == 0
    assert client.exists(stage.keys.inflight(held.consumer))
    monkeypatch.undo()
    book.flush()
    assert stage.cancel("r-m").said == "started"
    assert not client.exists(stage.keys.cancelling)
    book.ack(held)
    assert stage.ledger().counters == {"published": 1, "acked": 1}


def test_a_request_that_does_not_stand_any_more_gives_it_back(book: Book, stage: Stage, revoker: Revoker) -> None:
    """Its time is over by the clock of Redis; that is told like any other return."""
    (held,) = take(book, stage, "m")
    assert stage.cancel("r-m", patience_ms=60_000).said == "claimed"
    stage.client.hset(stage.keys.cancelling, long("m"), f"{stage.now_ms() - 1} asker")
    with telemetry.capture("hardening.message") as told:
        assert revoker.run_once() == 0
    assert told == [telemetry.MessageReleased(queue=stage.list_key(), why="requeued")]
    assert not held.cancelled
    assert book.begin([held]) == [False]
    assert stage.state().queued == {"q": ["m"]}
    assert stage.receipt("r-m")[0] == "queued"


def test_what_redis_did_not_hear_is_owed(
    book: Book, stage: Stage, revoker: Revoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message will not run here in any case; the next beat settles it."""
    (held,) = take(book, stage, "m")
    stage.cancel("r-m")

    def gone(*_: object) -> None:
        raise RedisConnectionError("gone")

    with monkeypatch.context() as patched:
        patched.setattr("hardening.core.scripts.script.Call.run", gone)
        with pytest.raises(RedisConnectionError):
            revoker.run_once()
    assert book.begin([held]) == [False]
    assert stage.receipt("r-m")[0] == "claimed"
    assert revoker.run_once() == 1
    assert stage.ledger().counters == {"published": 1, "purged": 1}


def test_what_was_recovered_meanwhile_is_left_to_who_has_it(book: Book, stage: Stage, revoker: Revoker) -> None:
    """The lease ran out between the two."""
    take(book, stage, "m")
    stage.cancel("r-m")
    stage.expire(book.lease.consumer)
    stage.recover()
    assert revoker.run_once() == 0
    assert stage.state().queued == {"q": ["m"]}


def test_two_requests_do_not_withdraw_each_other(stage: Stage) -> None:
    """Each its own; the last to ask is the one who is answered to."""
    stage.join("u")
    stage.publish("m", receipt="r-m")
    stage.take("u")
    stage.cancel("r-m", "one")
    stage.cancel("r-m", "two", patience_ms=600_000)
    assert stage.client.pttl(stage.keys.cancelling) > 60_000
    stage.cancel("r-m", "one", patience_ms=0)
    assert stage.client.hget(stage.keys.cancelling, long("m")).endswith(b" two")
    assert stage.revoke("u", "m") == 1
    assert stage.cancel("r-m", "one")[1:3] == ("consumer", "two")
    assert stage.cancel("r-m", "two")[1:3] == ("consumer", "two")


def test_a_receipt_that_expired_meanwhile_is_not_made_again(stage: Stage) -> None:
    """It would never go away."""
    stage.join("u")
    stage.publish("m", receipt="r-m")
    stage.take("u")
    stage.cancel("r-m")
    stage.client.delete(stage.keys.delivery(long("r-m")))
    assert stage.revoke("u", "m") == 1
    assert not stage.client.exists(stage.keys.delivery(long("r-m")))
    assert stage.ledger().counters == {"published": 1, "purged": 1}


def test_crashes_of_what_is_cancelled_are_forgotten(stage: Stage) -> None:
    """As of what is acknowledged."""
    stage.join("u")
    stage.publish("m", receipt="r-m")
    stage.take("u")
    stage.crash("u", "m")
    assert stage.state().crashes == {"m": 1}
    assert stage.cancel("r-m").where == "queue"
    assert stage.state().crashes == {}
