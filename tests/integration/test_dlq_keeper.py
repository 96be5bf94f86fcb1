"""Keepers on a real Redis: each letter is retried once for each attempt, and none goes without a word."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from dlq import DeadLetters, Reason, events, keeper
from dlq.keeper import Report
from hardening.core import raw as raw_message
from hardening.core import telemetry
from hardening.core.scripts import Death, keeping
from tests.eventually import eventually
from tests.integration.graveyard import Graveyard, Kind
from tests.integration.keeping import AT_ONCE, keeper_of, together

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys
    from tests.undertaker import Undertaker

FAILED = Death(Reason.FAILED, "ValueError: no")


def test_a_letter_is_retried_up_to_its_attempts_and_then_parked(undertaker: Undertaker, letters: DeadLetters) -> None:
    """The count goes with the message, through every death; crashes and Celery's retries begin anew."""
    one = keeper_of(undertaker.client, undertaker.keys)
    undertaker.dead_letter(headers={"retries": 3})
    seen = []
    with telemetry.capture("hardening.dead_letters") as told:
        for _ in range(2):
            assert one.run_once() == Report(planned=1)
            assert one.run_once() == Report(retried=1)
            (message,) = undertaker.take()
            (entry_id,) = undertaker.bury([message], FAILED)
            entry = letters.get(entry_id)
            seen.append((entry.attempts, entry.retries, entry.crashes))
        assert one.run_once() == Report(parked=1)
        assert one.run_once() == Report()
    assert seen == [(1, 0, 0), (2, 0, 0)]
    assert told == [
        events.DeadLettersRetried(retried=1), events.DeadLettersRetried(retried=1), events.DeadLettersParked(parked=1)
    ]  # fmt: skip
    assert undertaker.check().counters == {"published": 1, "dead": 3, "replayed": 2}


def test_an_operators_replay_keeps_the_count(undertaker: Undertaker, letters: DeadLetters) -> None:
    """A message that has had its attempts is not tried again and again because somebody looked into it."""
    one = keeper_of(undertaker.client, undertaker.keys)
    undertaker.dead_letter(headers={"hardening_attempts": 2})
    assert letters.replay(letters.select()) == 1
    (entry_id,) = undertaker.bury(undertaker.take(), FAILED)
    assert letters.get(entry_id).attempts == 2
    assert one.run_once() == Report(parked=1)


def test_the_wait_is_a_share_of_the_longest(undertaker: Undertaker) -> None:
    """Which grows with each attempt; until then nothing happens."""
    one = keeper_of(undertaker.client, undertaker.keys, chance=0.5)
    entry_id = undertaker.dead_letter(headers={"hardening_attempts": 1})
    before_ms = int(entry_id.partition("-")[0])
    assert one.run_once() == Report(planned=1)
    due_ms: Any = undertaker.client.zscore(undertaker.keys.dlq_retry, entry_id)
    assert 1_000_000 <= due_ms - before_ms < 1_030_000
    assert one.run_once() == Report()
    assert undertaker.check().queued == 0


@pytest.mark.parametrize("reason", [Reason.CRASHED, Reason.UNDECODABLE, Reason.EXPIRED, Reason.REJECTED])
def test_what_cannot_heal_is_parked_unless_it_is_named(undertaker: Undertaker, reason: Reason) -> None:
    """Waiting does not mend it; whoever names the reason knows better."""
    undertaker.dead_letter(death=Death(reason))
    assert keeper_of(undertaker.client, undertaker.keys).run_once() == Report(parked=1)
    named = keeper_of(undertaker.client, undertaker.keys, dlq_retry={**AT_ONCE, f"reason:{reason}": {}})
    undertaker.dead_letter(death=Death(reason))
    assert (named.run_once(), named.run_once()) == (Report(planned=1), Report(retried=1))
    undertaker.check()


@pytest.mark.parametrize("raw", [b"?", b'{"headers": {"task": "t"}}', b'{"headers": 3, "properties": {}}'])
def test_what_cannot_carry_its_count_is_parked(undertaker: Undertaker, raw: bytes) -> None:
    """It would be retried for ever."""
    undertaker.dead_raw(raw, FAILED)
    assert keeper_of(undertaker.client, undertaker.keys).run_once() == Report(parked=1)


def test_what_runs_at_most_once_is_parked(client: Redis, keys: Keys) -> None:
    """It was acknowledged before it ran, because its author wants no second run."""
    Graveyard(client, keys).bury([Kind()])
    assert keeper_of(client, keys).run_once() == Report(parked=1)


def test_nothing_is_retried_into_a_queue_nobody_has_heard_of(undertaker: Undertaker) -> None:
    """Not even when the entry says so."""
    undertaker.dead_letter()
    undertaker.client.delete(undertaker.keys.dlq_queues, undertaker.keys.queues)
    one = keeper_of(undertaker.client, undertaker.keys)
    assert one.run_once() == Report(parked=1)
    undertaker.dead_letter()  # whose publication, or burial, makes the queue known
    assert one.run_once() == Report(planned=1)


def test_of_two_who_decide_the_second_decides_nothing(undertaker: Undertaker) -> None:
    """Whoever read the letters before another decided about them must look again."""
    keys, client = undertaker.keys, undertaker.client
    first, second = undertaker.dead_letters(2)
    assert keeping.plan(keys, "", second, [(first, undertaker.queue, 600_000)]).run(client) == 1
    due = client.zrange(keys.dlq_retry, 0, -1, withscores=True)
    for so_far in ("", first):
        retries = [(entry_id, undertaker.queue, 0) for entry_id in (first, second)]
        assert keeping.plan(keys, so_far, second, retries).run(client) == -1
    assert client.zrange(keys.dlq_retry, 0, -1, withscores=True) == due
    assert client.get(keys.dlq_planned) == second.encode()


def test_a_queue_from_which_the_dead_came_is_known(undertaker: Undertaker) -> None:
    """Stock producers do not say where they publish."""
    undertaker.dead_letter()
    undertaker.client.delete(undertaker.keys.queues)
    assert keeper_of(undertaker.client, undertaker.keys).run_once() == Report(planned=1)


def test_what_left_the_queue_is_not_retried(undertaker: Undertaker, letters: DeadLetters) -> None:
    """Replayed or purged by hand, before and after it was planned."""
    one = keeper_of(undertaker.client, undertaker.keys)
    undertaker.dead_letters(2)
    assert one.run_once() == Report(planned=2)
    first, second = letters.select()
    assert (letters.replay([first]), letters.purge([second])) == (1, 1)
    assert undertaker.client.exists(undertaker.keys.dlq_retry) == 0
    assert one.run_once() == Report()
    assert undertaker.check().counters["replayed"] == 1


def test_one_keeper_at_a_time_has_the_turn(undertaker: Undertaker) -> None:
    """Another has it once the first is silent for long enough."""
    first, second = (keeper_of(undertaker.client, undertaker.keys, name) for name in "ab")
    undertaker.dead_letter()
    assert first.run_once() == Report(planned=1)
    assert second.run_once() == Report()
    assert 0 < undertaker.client.pttl(undertaker.keys.dlq_turn) <= 15_000
    undertaker.client.delete(undertaker.keys.dlq_turn)
    assert second.run_once() == Report(retried=1)
    assert first.run_once() == Report()


@pytest.mark.one_server
def test_racing_keepers_retry_none_of_ten_thousand_twice(
    undertaker: Undertaker, server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody heeds turns or claims: planning is decided by one, and whose call removes a letter, publishes."""
    monkeypatch.setattr(keeper, "_CLAIM_MS", 0)
    monkeypatch.setattr(keeper, "_TURN_MS", 1)
    many = 10_000
    scope = undertaker.scope
    pipe: Any
    with undertaker.client.pipeline(transaction=False) as pipe:
        for number in range(many):
            identity = f"m{number}".ljust(36, ".")
            raw = json.dumps({
                "hardening": raw_message.mark(identity), "body": "", "headers": {"task": "t", "id": identity},
                "properties": {"delivery_tag": identity},
            }).encode()  # fmt: skip
            call = scope.publish(undertaker.queue, undertaker.queue, raw)
            pipe.execute_command(*(call.command if number else call.full_command))
        pipe.execute()
    while taken := undertaker.take(1000):
        undertaker.bury(taken, FAILED)
    clients = [server.client() for _ in range(4)]
    reports: list[Report] = []

    def keep(number: int) -> None:
        mine = keeper_of(clients[number], undertaker.keys, f"k{number}")
        for _ in range(2000):
            reports.append(mine.run_once())
            if sum(report.retried for report in reports) >= many:
                return

    together(len(clients), keep)
    for client in clients:
        client.close()
    raws: Any = undertaker.client.lrange(undertaker.queue, 0, -1)
    ids = [json.loads(raw)["headers"]["id"] for raw in raws]
    assert len(ids) == len(set(ids)) == many
    assert sum(report.planned for report in reports) == sum(report.retried for report in reports) == many
    assert len({raw_message.message_id(raw) for raw in raws}) == many
    ledger = undertaker.check()
    assert (ledger.letters, ledger.counters["replayed"]) == (0, many)


def test_a_claim_lost_with_its_keeper_is_claimed_again(undertaker: Undertaker) -> None:
    """Once it has run out; until then nobody is given what another rewrites."""
    one = keeper_of(undertaker.client, undertaker.keys)
    entry_id = undertaker.dead_letter()
    one.run_once()
    assert len(keeping.claim(undertaker.keys, 10, 30_000).run(undertaker.client)) == 1
    assert one.run_once() == Report()
    undertaker.client.zadd(undertaker.keys.dlq_retry, {entry_id: 1})
    assert one.run_once() == Report(retried=1)
    undertaker.check()


def test_a_worker_keeps_by_itself(app: Celery, undertaker: Undertaker) -> None:
    """The service that a worker starts and stops, any number of times."""
    from hardening.worker.keeping import service_for  # noqa: PLC0415 - only here

    undertaker.dead_letter(death=Death(Reason.REJECTED))
    service = service_for(app)
    with telemetry.capture("hardening.dead_letters.parked") as told:
        for _ in range(3):
            service.start()
            service.start()
        running = [service.is_running]
        eventually(lambda: told)
        for _ in range(2):
            service.stop()
    assert [*running, service.is_running] == [True, False]
    assert told == [events.DeadLettersParked(parked=1)]
    assert not [thread for thread in threading.enumerate() if thread.name == "hardening-keeper"]
