"""publish: a message is accepted once, whole, and somebody hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.stage import State, long

if TYPE_CHECKING:
    from tests.integration.stage import Stage


def test_a_message_is_queued_behind_those_before_it_and_rings(stage: Stage) -> None:
    """First in, first out; one bell for a queue, however many messages."""
    assert [stage.publish(name) for name in ("a", "b", "c")] == [1, 1, 1]
    assert stage.state() == State(queued={"q": ["a", "b", "c"]}, rung={"q"})
    assert stage.ledger().counters == {"published": 3}
    assert stage.client.lrange(stage.keys.bell(stage.list_key()), 0, -1) == [b"1"]


def test_the_raw_bytes_are_kept_as_they_are(stage: Stage) -> None:
    """Nothing is parsed and written anew."""
    stage.publish("a", receipt="r")
    assert stage.client.lrange(stage.list_key(), 0, -1) == [stage.raw("a", "r")]


def test_a_priority_is_a_list_of_its_own_under_the_bell_of_the_queue(stage: Stage) -> None:
    """A consumer listens to queues, not to lists."""
    stage.publish("low", step=9)
    stage.publish("high")
    assert stage.state() == State(queued={"q": ["high"], "q:9": ["low"]}, rung={"q"})


def test_a_message_that_is_not_due_is_held(stage: Stage) -> None:
    """It is on no queue, and rings so that consumers learn when to wake."""
    due_ms = stage.now_ms() + 60_000
    assert stage.publish("later", due_ms=due_ms, receipt="r") == 1
    assert stage.state() == State(scheduled=["later"], rung={"q"})
    assert stage.due_ms("later") == due_ms
    assert stage.receipt("r") == ("scheduled", "sender", "")


@pytest.mark.parametrize("due_ms", [0, 1, -5])
def test_a_message_that_is_due_is_queued(stage: Stage, due_ms: int) -> None:
    """A due time in the past is now."""
    stage.publish("a", due_ms=due_ms)
    assert stage.state() == State(queued={"q": ["a"]}, rung={"q"})


def test_the_receipt_says_what_is_known(stage: Stage) -> None:
    """Its fields, its message, its state, and that it will not be kept for ever."""
    stage.publish("a", receipt="r")
    fields = stage.client.hgetall(stage.keys.delivery(long("r")))
    created_ms = int(fields.pop(b"created_ms"))
    assert fields.pop(b"changes") == b"1"
    assert fields.pop(b"#1").endswith(b" queued sender")
    assert fields == {
        b"task": b"t", b"message": long("a").encode(), b"state": b"queued", b"worker": b"sender", b"reason": b"",
    }  # fmt: skip
    assert 0 <= stage.now_ms() - created_ms < 60_000
    assert 0 < stage.client.pttl(stage.keys.delivery(long("r"))) <= stage.scope.receipt_ttl_ms
    assert not stage.client.exists(stage.keys.changes(long("r")))
    assert stage.history("r") == ["queued"]


@pytest.mark.parametrize("due_in_ms", [0, 60_000])
def test_a_repeat_with_the_same_receipt_is_one_message(stage: Stage, due_in_ms: int) -> None:
    """A reply that was lost makes the sender try again; nothing more happens, and it is told so."""
    due_ms = due_in_ms and stage.now_ms() + due_in_ms
    assert stage.publish("a", due_ms=due_ms, receipt="r") == 1
    before = stage.state()
    assert [stage.publish("a", due_ms=due_ms, receipt="r") for _ in range(3)] == [0, 0, 0]
    assert stage.state() == before
    assert stage.history("r") == ["scheduled" if due_ms else "queued"]
    assert stage.ledger().counters == {"published": 1}


@pytest.mark.parametrize("progress", ["taken", "acked", "buried"])
def test_a_repeat_long_after_is_still_one_message(stage: Stage, progress: str) -> None:
    """The first attempt may have gone any way before the second arrives."""
    stage.join("w")
    stage.publish("a", receipt="r")
    stage.take("w")
    if progress == "acked":
        stage.ack("w", "a")
    if progress == "buried":
        stage.bury("w", "a")
    before = stage.state()
    assert stage.publish("a", receipt="r") == 0
    assert stage.state() == before


def test_a_retry_of_the_task_carries_the_receipt_on(stage: Stage) -> None:
    """It is a new message; from now on the receipt is of it, and what becomes of the old one is of no interest."""
    stage.join("w")
    stage.publish("first", receipt="r")
    stage.take("w")
    stage.begin("w", "first")
    retry = stage.scope.publish(stage.list_key(), stage.list_key(), stage.raw("second", "r"))
    assert stage.run(retry) == 1
    assert stage.ack("w", "first") == 1
    assert stage.receipt("r") == ("queued", "sender", "")
    assert stage.history("r") == ["queued", "claimed", "started", "queued"]
    assert stage.state() == State(queued={"q": ["second"]}, leases={"w"}, rung={"q"})
    stage.take("w")
    stage.ack("w", "second")
    assert stage.receipt("r") == ("acked", "w", "")


def test_a_retry_does_not_wake_a_receipt_that_has_expired(stage: Stage) -> None:
    """What nobody can ask for any more is not written, and would not expire again."""
    assert stage.run(stage.scope.publish(stage.list_key(), stage.list_key(), stage.raw("a", "gone"))) == 1
    assert stage.state() == State(queued={"q": ["a"]}, rung={"q"})
    assert not stage.client.exists(stage.keys.delivery(long("gone")), stage.keys.changes(long("gone")))


def test_a_receipt_may_have_more_fields_than_fit_one_line(stage: Stage) -> None:
    """Whatever the sender has to say, in whatever bytes."""
    fields = {f"field{number}": "x" * number for number in range(200)} | {"odd": "\x00\n\u2603"}
    list_key = stage.list_key()
    assert stage.run(stage.scope.publish(list_key, list_key, stage.raw("a", "r"), receipt=fields)) == 1
    stored = stage.client.hgetall(stage.keys.delivery(long("r")))
    assert {name: stored[name.encode()].decode() for name in fields} == fields
