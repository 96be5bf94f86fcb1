"""Scheduled messages: held in Redis, due in order, and free to leave for stock workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.stage import State, long, short

if TYPE_CHECKING:
    from hardening.core.scripts import Taken
    from tests.integration.stage import Stage

HOUR_MS = 3_600_000


def names(taken: Taken) -> list[str]:
    """The names of what was taken, in order."""
    return [short(message.raw[15:51]) for message in taken.messages]


def schedule(stage: Stage, *messages: str, queue: str = "q") -> None:
    """Publishes messages for the next hours, one an hour."""
    for hours, name in enumerate(messages, 1):
        stage.publish(name, queue=queue, due_ms=stage.now_ms() + hours * HOUR_MS, receipt=f"r-{name}")


def test_take_tells_when_the_next_message_is_due(stage: Stage) -> None:
    """Its consumer wakes for it."""
    stage.join("w")
    assert stage.take("w").next_due_ms == 0
    schedule(stage, "first", "second")
    taken = stage.take("w")
    assert taken.messages == []
    assert taken.next_due_ms == stage.due_ms("first")
    assert abs(taken.next_due_ms - taken.now_ms - HOUR_MS) < 60_000


def test_what_has_come_due_is_taken_before_what_waits(stage: Stage) -> None:
    """Earliest first; what is not due stays."""
    stage.join("w")
    stage.publish("queued")
    schedule(stage, "x", "y", "z", "not-due")
    stage.come_due("y", "x", "z")
    taken = stage.take("w")
    assert names(taken) == ["y", "x", "z", "queued"]
    assert taken.next_due_ms == stage.due_ms("not-due")
    assert stage.state().scheduled == ["not-due"]
    assert stage.history("r-x") == ["scheduled", "queued", "claimed"]


def test_what_comes_due_together_comes_due_batch_by_batch(stage: Stage) -> None:
    """A take moves no more than its limit; the rest is due at once, which it says."""
    stage.join("w")
    schedule(stage, *"abcde")
    stage.come_due(*"abcde")
    assert names(stage.take("w", 2)) == ["a", "b"]
    assert stage.state().scheduled == ["c", "d", "e"]
    taken = stage.take("w", 2)
    assert names(taken) == ["c", "d"]
    assert 0 < taken.next_due_ms < taken.now_ms
    assert names(stage.take("w", 2)) == ["e"]


def test_what_is_due_for_other_queues_is_put_there(stage: Stage) -> None:
    """By whoever comes first; the bell tells those who listen."""
    stage.join("w")
    schedule(stage, "theirs", queue="p")
    stage.client.delete(stage.keys.bell(stage.list_key("p")))
    stage.come_due("theirs")
    assert stage.take("w").messages == []
    assert stage.state() == State(queued={"p": ["theirs"]}, leases={"w"}, rung={"p"})


def test_a_stock_message_is_scheduled_and_comes_back(stage: Stage) -> None:
    """In the schedule it is ours to account for; on the queue it is not."""
    stage.join("w")
    stage.publish_stock("s")
    stage.take("w")
    stage.release("w", "s", due_ms=stage.now_ms() + HOUR_MS)
    assert stage.ledger().counters == {"adopted": 1, "released": 1}
    assert stage.state().scheduled == ["s"]
    stage.client.zadd(stage.keys.scheduled, dict.fromkeys(stage.client.zrange(stage.keys.scheduled, 0, -1), 1))
    assert len(stage.take("w").messages) == 1
    assert stage.state() == State(inflight={"w": ["s"]}, leases={"w"}, rung={"q"})
    assert stage.ledger().counters == {"adopted": 1, "released": 1}


def test_the_same_bytes_twice_are_two_messages(stage: Stage) -> None:
    """Stock Celery can restore a message twice; neither may vanish, and an ack is for one of them."""
    stage.join("w")
    stage.publish_stock("s", "s")
    for message in stage.take("w").messages:
        stage.run(stage.scope.release("w", [message.seq], due_ms=stage.now_ms() + HOUR_MS))
    assert stage.state() == State(scheduled=["s", "s"], leases={"w"}, rung={"q"})
    assert stage.run(stage.scope.ack_late(stage.list_key(), stage.stock_raw("s"))) == 1
    assert stage.state() == State(scheduled=["s"], leases={"w"}, rung={"q"})


def test_a_due_time_without_a_message_stops_nobody(stage: Stage) -> None:
    """Somebody else deleted the message: the ledger says that it is missing, and the others go on."""
    stage.join("w")
    schedule(stage, "lost", "kept")
    stage.come_due("lost", "kept")
    stage.client.hdel(stage.keys.scheduled_messages, long("lost"))
    assert names(stage.take("w")) == ["kept"]
    assert stage.client.zrange(stage.keys.scheduled, 0, -1) == []


@pytest.mark.parametrize("limit", [2, 5, 9])
def test_detach_moves_everything_to_the_queues_due_or_not(stage: Stage, limit: int) -> None:
    """The earliest in front, however many calls it takes."""
    schedule(stage, *"abcde")
    schedule(stage, "p1", queue="p")
    moved: list[int] = []
    while not moved or moved[-1]:
        moved.append(stage.run(stage.scope.detach(limit)))
    assert sum(moved) == 6
    assert max(moved) == min(limit, 6)
    assert stage.state() == State(queued={"q": list("abcde"), "p": ["p1"]}, rung={"q", "p"})
    assert stage.receipt("r-a")[0] == "queued"


def test_detach_lets_stock_messages_leave_the_ledger(stage: Stage) -> None:
    """They are stock Celery's again."""
    stage.join("w")
    stage.publish_stock("s")
    stage.take("w")
    stage.release("w", "s", due_ms=stage.now_ms() + HOUR_MS)
    assert stage.run(stage.scope.detach(10)) == 1
    assert stage.state() == State(queued={"q": ["s"]}, leases={"w"}, rung={"q"}, stock={"s"})
    assert stage.ledger().counters == {"adopted": 0, "released": 1}
