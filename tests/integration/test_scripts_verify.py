"""verify and the ledger: the law is checked, and a breach is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardening.core.ledger import Ledger, read_ledger
from tests.integration.stage import long

if TYPE_CHECKING:
    from tests.integration.stage import Stage


def everywhere(stage: Stage) -> None:
    """Messages in every place there is."""
    stage.join("w", "gone")
    for name in ("a", "b", "c", "d", "e", "f"):
        stage.publish(name)
    stage.take("w", 4)
    stage.ack("w", "a")
    stage.bury("w", "b")
    stage.take("gone", 1)
    stage.begin("gone", "e")
    stage.expire("gone")
    stage.recover()  # e comes back
    stage.publish("later", due_ms=stage.now_ms() + 60_000)
    stage.publish("high", step=9)
    stage.publish("other", queue="p")
    stage.run(stage.scope.purge(stage.list_key("p"), 10))
    stage.publish_stock("s1", "s2")


def test_the_ledger_tells_of_every_place(stage: Stage) -> None:
    """Read at one instant."""
    everywhere(stage)
    unacked = stage.client.hlen("unacked")
    counters = {"published": 9, "acked": 1, "dead": 1, "purged": 1, "crashes": 1, "recovered": 1}
    expected = Ledger(
        counters, inflight=2, scheduled=1, stray=0, queued=3, stock=2, unseen=0, unacked=unacked, letters=1, grouped=1
    )
    assert stage.ledger() == expected
    assert (expected.came_in, expected.accounted, expected.missing) == (9, 9, 0)


def test_messages_of_the_dead_are_in_flight_until_they_are_moved(stage: Stage) -> None:
    """Between two batches of a sweep."""
    stage.join("w")
    for name in "abc":
        stage.publish(name)
    stage.take("w")
    stage.expire("w")
    assert stage.ledger().inflight == 3
    stage.recover(limit=2)
    ledger = stage.ledger()
    assert (ledger.inflight, ledger.queued) == (1, 2)


def test_a_long_queue_is_looked_at_in_part(stage: Stage) -> None:
    """What is not seen counts as ours; the numbers say how much that is."""
    stage.publish_stock(*(f"s{number}" for number in range(150)))
    for number in range(350):
        stage.publish(f"m{number}")
    seen = {look_at: read_ledger(stage.client, stage.keys, look_at=look_at) for look_at in (0, 99, 100, 250, 499, 500)}
    assert {at: ledger.unseen for at, ledger in seen.items()} == {0: 500, 99: 401, 100: 400, 250: 250, 499: 1, 500: 0}
    assert {at: ledger.stock for at, ledger in seen.items()} == {0: 0, 99: 0, 100: 0, 250: 0, 499: 149, 500: 150}
    assert seen[500].is_balanced
    assert seen[0].missing == -150


def test_what_is_looked_at_is_shared_by_all_lists(stage: Stage) -> None:
    """The limit bounds the time it takes Redis, not that of each queue."""
    for queue in ("p", "q"):
        for step in (0, 3, 6, 9):
            for number in range(5):
                stage.publish(f"{queue}{step}{number}", queue=queue, step=step)
    assert read_ledger(stage.client, stage.keys, look_at=17).unseen == 23


def test_a_lost_message_is_missed(stage: Stage) -> None:
    """Somebody else's hand took it from the queue."""
    stage.publish("a")
    stage.client.rpop(stage.list_key())
    ledger = read_ledger(stage.client, stage.keys)
    assert (ledger.missing, ledger.is_balanced) == (1, False)


def test_a_doubled_message_is_seen(stage: Stage) -> None:
    """Somebody else's hand put it there."""
    stage.publish("a")
    stage.client.lpush(stage.list_key(), stage.raw("a"))
    ledger = read_ledger(stage.client, stage.keys)
    assert (ledger.missing, ledger.is_balanced) == (-1, False)


def test_a_due_time_without_a_message_is_a_stray(stage: Stage) -> None:
    """And the message is missing."""
    stage.publish("a", due_ms=stage.now_ms() + 60_000)
    stage.client.hdel(stage.keys.scheduled_messages, long("a"))
    ledger = read_ledger(stage.client, stage.keys)
    assert (ledger.missing, ledger.stray, ledger.is_balanced) == (1, 1, False)


def test_an_empty_deployment_is_balanced(stage: Stage) -> None:
    """Nothing came in, nothing is anywhere."""
    ledger = stage.ledger()
    assert (ledger.counters, ledger.came_in, ledger.accounted) == ({}, 0, 0)


def test_reading_the_ledger_changes_nothing(stage: Stage) -> None:
    """It may be read at any time."""
    everywhere(stage)
    before = {key: stage.client.dump(key) for key in stage.client.scan_iter(f"{stage.prefix}*", count=10_000)}
    stage.ledger()
    assert {key: stage.client.dump(key) for key in stage.client.scan_iter(f"{stage.prefix}*", count=10_000)} == before
