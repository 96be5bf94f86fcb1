"""Mailboxes: one holder, one message in flight, in order."""

from __future__ import annotations

import pytest

from hardening.core.scripts import broadcasting, calls, mailing
from hardening.core.scripts.mailing import Halt
from tests.integration.mailroom import Mailroom, names
from tests.integration.stage import long


def publish(room: Mailroom, names: str) -> None:
    """One message for each letter."""
    for name in names:
        room.publish(name, receipt=f"r-{name}")


# -- who takes


def test_one_message_is_taken_and_the_next_when_that_is_settled(room: Mailroom) -> None:
    """By its holder, which goes on listening; nobody rings for what it will come for by itself."""
    publish(room, "abc")
    first = room.take("w")
    assert (names(first), first.others) == (["a"], frozenset())
    assert room.box() == {"bound": "0", "when_full": "reject", "holder": "w", "seq": "1", "fence": "1"}
    assert not room.is_rung()
    again = room.take("w")
    assert (names(again), again.others) == ([], frozenset())
    publish(room, "d")
    assert not room.is_rung()
    assert room.ack("w", "a") == 1
    assert names(room.take("w")) == ["b"]
    assert room.box()["fence"] == "1"
    assert room.waiting() == ["c", "d"]
    room.ledger()


@pytest.mark.parametrize("settle", ["ack", "release", "bury", "crash"])
def test_however_a_message_is_settled_the_next_is_taken(room: Mailroom, settle: str) -> None:
    """What is given back comes first again, at once."""
    publish(room, "ab")
    room.take("w")
    getattr(room, settle)("w", "a")
    assert names(room.take("w")) == (["b"] if settle in ("ack", "bury") else ["a"])


def test_of_all_its_priority_steps_one_message_is_taken(room: Mailroom) -> None:
    """The most urgent."""
    room.publish("low", step=9)
    room.publish("high")
    assert names(room.take("w")) == ["high"]
    room.ack("w", "high")
    assert names(room.take("w")) == ["low"]


def test_other_queues_are_taken_from_as_ever(room: Mailroom) -> None:
    """Also such whose names begin as a mailbox's, within one limit; what is not come to is rung for."""
    publish(room, "ab")
    for name in ("x1", "x2", "x3"):
        room.publish(name, queue="x")
    lists = [room.list_key("q"), room.list_key("x")]
    assert names(room.take("w", 3, *lists)) == ["a", "x1", "x2"]
    assert room.client.exists(room.keys.bell(room.list_key("x")))
    room.ack("w", "a")
    assert names(room.take("w", 1, *lists[::-1])) == ["x3"]
    assert room.is_rung()
    assert room.box()["seq"] == "1"


def test_another_consumer_is_told_that_a_mailbox_is_not_its_own(room: Mailroom) -> None:
    """Whether it has messages or not; so that it does not listen to its bell."""
    publish(room, "ab")
    room.take("w")
    for _ in range(2):
        taken = room.take("v")
        assert (names(taken), taken.others) == ([], frozenset({room.list_key()}))
        room.client.delete(room.list_key())
    assert "wanted_ms" not in room.box()


def test_a_mailbox_whose_holder_is_idle_is_anybodys_to_listen_to_only_if_that_is_gone(room: Mailroom) -> None:
    """Before anything has come."""
    assert room.take("v").others == frozenset()
    publish(room, "a")
    room.take("w")
    room.ack("w", "a")
    room.publish("x", queue="x")
    assert room.take("v", 1, room.list_key(), room.list_key("x")).others == {room.list_key()}
    assert ("wanted_ms" in room.box(), room.is_rung()) == (False, False)
    room.run(calls.leave(room.keys, "w"))
    assert room.take("v").others == frozenset()


def test_what_an_idle_holder_does_not_come_for_is_rung_for_and_then_anybodys(room: Mailroom) -> None:
    """All its places may be taken. A second is long enough to come; whoever takes, the wait is over."""
    publish(room, "abc")
    room.take("w")
    room.ack("w", "a")
    room.client.delete(room.keys.bell(room.list_key()))
    assert names(room.take("v")) == []
    assert room.is_rung()
    assert abs(int(room.box()["wanted_ms"]) - room.now_ms()) < 60_000
    since_ms = room.now_ms() - 500
    room.set(wanted_ms=since_ms)
    assert names(room.take("v")) == []
    assert room.box()["wanted_ms"] == str(since_ms)
    room.set(wanted_ms=room.now_ms() - 1000)
    taken = room.take("v")
    assert (names(taken), taken.others) == (["b"], frozenset())
    assert (room.box()["holder"], room.box()["fence"]) == ("v", "2")
    assert "wanted_ms" not in room.box()


def test_a_clock_that_was_set_back_keeps_nobody_waiting(room: Mailroom) -> None:
    """What is wanted since tomorrow is wanted since long."""
    publish(room, "ab")
    room.take("w")
    room.ack("w", "a")
    room.set(wanted_ms=room.now_ms() + 86_400_000)
    assert names(room.take("v")) == ["b"]


def test_a_dead_holder_is_followed_when_what_it_held_is_back(room: Mailroom) -> None:
    """Which then comes first, also the third time it crashed; nothing is taken before."""
    publish(room, "ab")
    room.client.hset(room.keys.crashes, long("a"), 1)
    room.take("w")
    room.begin("w", "a")
    room.client.zrem(room.keys.leases, "w")
    room.client.zadd(room.keys.dead, {"w": 1})
    taken = room.take("v")
    assert (names(taken), taken.others) == ([], frozenset({room.list_key()}))
    assert room.recover("v", max_crashes=3).charged == 1
    assert room.is_rung()
    assert names(room.take("v")) == ["a"]
    assert room.box()["fence"] == "2"


def test_poison_is_buried_and_what_is_behind_it_goes_on(room: Mailroom) -> None:
    """Back to its place each time, however often it crashed, until that was once too often."""
    publish(room, "ab")
    for crashes, is_buried in ((1, 0), (2, 0), (3, 1)):
        assert names(room.take("w")) == ["a"]
        assert room.crash("w", "a", base_delay_ms=60_000) == is_buried, crashes
    assert names(room.take("w")) == ["b"]
    assert room.state().buried == [("a", "crashed")]


def test_a_holder_that_ceased_to_consume_is_followed_once_it_holds_nothing(room: Mailroom) -> None:
    """It has its lease still."""
    publish(room, "ab")
    room.take("w")
    room.run(broadcasting.consume(room.keys, "w", []))
    assert names(room.take("v")) == []
    room.ack("w", "a")
    assert names(room.take("v")) == ["b"]


# -- halts and back-offs


def test_nothing_is_taken_from_a_halted_mailbox_and_nobody_rings_for_it(room: Mailroom) -> None:
    """What is in flight goes on; when it may go on, it is rung for."""
    publish(room, "ab")
    room.take("w")
    assert [room.halt(Halt.PAUSED), room.halt(Halt.PAUSED), room.halt(Halt.PARKED)] == [1, 0, 1]
    room.ack("w", "a")
    publish(room, "c")
    assert not room.is_rung()
    taken = room.take("w")
    assert (names(taken), taken.others, room.is_rung()) == ([], frozenset(), False)
    assert room.take("v").others == {room.list_key()}
    assert "wanted_ms" not in room.box()
    assert [room.halt(None), room.halt(None)] == [1, 0]
    assert room.is_rung()
    assert names(room.take("w")) == ["b"]


def test_a_mailbox_that_is_not_there_cannot_be_halted(room: Mailroom) -> None:
    """Nor is it made."""
    assert int(room.run(mailing.halt(room.keys, "nobody", Halt.STOPPED))) == -1
    assert not room.client.exists(room.keys.mailbox("agent.nobody"))


def test_what_is_to_wait_in_a_mailbox_waits_in_its_place(room: Mailroom) -> None:
    """And all behind it; a take says until when. Somebody may let it go on before."""
    publish(room, "ab")
    (message,) = room.take("w").messages
    until_ms = room.now_ms() + 60_000
    release = room.scope.release("w", [message.seq], due_ms=until_ms, keeps_place=True)
    assert room.run(release) == 1
    assert room.waiting() == ["a", "b"]
    assert room.is_rung()
    taken = room.take("w")
    assert (names(taken), taken.next_due_ms) == ([], until_ms)
    room.set(resume_ms=room.now_ms() - 1)
    assert names(room.take("w")) == ["a"]
    room.set(resume_ms=until_ms)
    room.ack("w", "a")
    assert room.halt(None) == 1
    assert names(room.take("w")) == ["b"]


def test_the_next_time_to_look_is_the_soonest(room: Mailroom) -> None:
    """Of scheduled messages and mailboxes."""
    now_ms = room.now_ms()
    room.publish("s", due_ms=now_ms + 50_000)
    for offset, expected in ((60_000, 50_000), (40_000, 40_000)):
        room.set(resume_ms=now_ms + offset)
        assert room.take("w").next_due_ms == now_ms + expected


def test_what_is_not_due_leaves_its_place_and_so_does_what_waits_in_other_queues(room: Mailroom) -> None:
    """Its sender wants it later; a mailbox is not to wait for that."""
    publish(room, "ab")
    room.take("w")
    room.release("w", "a", due_ms=room.now_ms() + 60_000)
    assert names(room.take("w")) == ["b"]
    room.publish("x", queue="x")
    (message,) = room.take("w", 1, room.list_key("x")).messages
    room.run(room.scope.release("w", [message.seq], due_ms=room.now_ms() + 60_000, keeps_place=True))
    assert sorted(room.state().scheduled) == ["a", "x"]
