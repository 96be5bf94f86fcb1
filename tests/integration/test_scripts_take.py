"""take: order, limits, bells, and who may take at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening.core.scripts import TakenMessage
from tests.integration.stage import State, long, short

if TYPE_CHECKING:
    from hardening.core.scripts import Taken
    from tests.integration.stage import Stage


def names(taken: Taken) -> list[str]:
    """The names of what was taken, in order."""
    return [short(message.raw[15:51]) for message in taken.messages]


def test_what_is_taken_is_held_under_the_consumers_name(stage: Stage) -> None:
    """The reply and the in-flight hash say the same; nothing is begun yet."""
    stage.join("w")
    for name in ("a", "b"):
        stage.publish(name, receipt=f"r-{name}")
    taken = stage.take("w")
    assert taken.messages == [
        TakenMessage(stage.list_key(), 1, 0, stage.raw("a", "r-a")),
        TakenMessage(stage.list_key(), 2, 0, stage.raw("b", "r-b")),
    ]
    assert (taken.next_due_ms, taken.reaped) == (0, False)
    assert abs(stage.now_ms() - taken.now_ms) < 60_000
    assert stage.state() == State(inflight={"w": ["a", "b"]}, leases={"w"})
    assert [stage.receipt(f"r-{name}") for name in ("a", "b")] == [("claimed", "w", "")] * 2


def test_nothing_there_is_nothing_taken(stage: Stage) -> None:
    """An empty take changes nothing."""
    stage.join("w")
    assert stage.take("w").messages == []
    assert stage.state() == State(leases={"w"})


def test_lists_are_emptied_in_the_order_given(stage: Stage) -> None:
    """Priority steps first, or queues first: that is the caller's to say."""
    stage.join("w")
    for queue, step in (("a", 3), ("b", 0), ("a", 0), ("b", 3)):
        for number in (1, 2):
            stage.publish(f"{queue}{step}-{number}", queue=queue, step=step)
    lists = [stage.list_key(queue, step) for step in (0, 3) for queue in ("b", "a")]
    assert names(stage.take("w", 7, *lists)) == ["b0-1", "b0-2", "a0-1", "a0-2", "b3-1", "b3-2", "a3-1"]
    assert names(stage.take("w", 7, *lists)) == ["a3-2"]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_more_than_the_limit_is_taken(stage: Stage, limit: int) -> None:
    """What is left stays where it was, in order."""
    stage.join("w")
    for name in "abc":
        stage.publish(name)
    assert names(stage.take("w", limit)) == list("abc"[:limit])
    left = list("abc"[limit:])
    expected = State(queued={"q": left} if left else {}, inflight={"w": list("abc"[:limit])}, leases={"w"})
    expected.rung = {"q"} if left else set()
    assert stage.state() == expected


def test_seqs_go_on_over_takes_and_consumers(stage: Stage) -> None:
    """A seq names one taking of one message, for ever."""
    stage.join("v", "w")
    for name in "abcd":
        stage.publish(name)
    taken = [stage.take("v", 1), stage.take("w", 2), stage.take("v", 1)]
    assert [[message.seq for message in one.messages] for one in taken] == [[1], [2, 3], [4]]


def test_the_bell_rings_again_for_what_is_left_behind(stage: Stage) -> None:
    """Whoever was woken took its token away; without another one nobody would come for the rest."""
    stage.join("w")
    for name in "abc":
        stage.publish(name)
    stage.take("w", 2)
    assert stage.state() == State(queued={"q": ["c"]}, inflight={"w": ["a", "b"]}, leases={"w"}, rung={"q"})
    stage.take("w", 2)
    assert stage.state() == State(inflight={"w": ["a", "b", "c"]}, leases={"w"})


def test_the_bell_rings_for_lists_that_were_not_come_to(stage: Stage) -> None:
    """Also when the limit was reached exactly, and also for another queue."""
    stage.join("w")
    stage.publish("a", queue="one")
    stage.publish("b", queue="two", step=9)
    stage.take("w", 1, stage.list_key("one"), stage.list_key("two"), stage.list_key("two", 9))
    expected = State(queued={"two:9": ["b"]}, inflight={"w": ["a"]}, leases={"w"}, rung={"two"})
    assert stage.state() == expected


def test_more_lists_than_one_call_of_redis_takes_are_all_come_to(stage: Stage) -> None:
    """The script goes over them in pieces of 64."""
    stage.join("w")
    lists = [stage.list_key(f"q{number}", step) for step in (0, 3, 6, 9) for number in range(100)]
    for number in (0, 63, 64, 99):
        stage.publish(f"m{number}", queue=f"q{number}", step=9)
    assert names(stage.take("w", 3, *lists)) == ["m0", "m63", "m64"]
    assert "q99" in stage.state().rung
    assert [message.list_key for message in stage.take("w", 3, *lists).messages] == [stage.list_key("q99", 9)]


def test_a_consumer_without_a_lease_takes_nothing(stage: Stage) -> None:
    """It was declared dead: what it took now, nobody would recover."""
    stage.publish("a")
    stage.publish("due", due_ms=stage.now_ms() + 60_000)
    stage.come_due("due")
    assert stage.take("w").reaped
    assert stage.state() == State(queued={"q": ["a"]}, scheduled=["due"])


def test_a_reaped_consumer_takes_nothing(stage: Stage) -> None:
    """The same, after a sweep."""
    stage.join("w")
    stage.publish("a")
    stage.expire("w")
    stage.recover()
    assert stage.take("w").reaped
    assert stage.state() == State(queued={"q": ["a"]})


def test_a_lease_that_ran_out_but_was_not_taken_away_still_holds(stage: Stage) -> None:
    """Nobody has declared it dead, and it may renew: it is the sweep that decides."""
    stage.join("w")
    stage.publish("a")
    stage.expire("w")
    assert names(stage.take("w")) == ["a"]


def test_a_stock_message_enters_the_ledger_when_it_is_taken(stage: Stage) -> None:
    """Stock producers keep no ledger."""
    stage.join("w")
    stage.publish_stock("s1", "s2")
    stage.publish("ours")
    assert (stage.ledger().came_in, stage.ledger().stock) == (1, 2)
    assert len(stage.take("w", 2).messages) == 2
    assert stage.state() == State(queued={"q": ["ours"]}, inflight={"w": ["s1", "s2"]}, leases={"w"}, rung={"q"})
    assert stage.ledger().counters == {"published": 1, "adopted": 2}


def test_crashes_so_far_come_with_a_message(stage: Stage) -> None:
    """So that its consumer knows to have its count removed, and Celery that it is redelivered."""
    stage.join("w")
    for name in ("bad", "good"):
        stage.publish(name)
    stage.client.hset(stage.keys.crashes, long("bad"), 2)
    assert [message.crashes for message in stage.take("w").messages] == [2, 0]
