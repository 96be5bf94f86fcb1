"""broadcast and consume: one message for each of several queues, against what live consumers take from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening.core.scripts import calls
from hardening.core.scripts.broadcasting import Addressed, Published, Refusal, broadcast, consume
from tests.integration.stage import State, long

if TYPE_CHECKING:
    from hardening.core.scripts import Call
    from tests.integration.stage import Stage

NO_CONSUMER, NOT_A_QUEUE = Refusal.NO_CONSUMER, Refusal.NOT_A_QUEUE


def call(stage: Stage, *names: str, every: bool = True, needs: str = "", step: int = 0, due_ms: int = 0) -> Call:
    """Sends a message ``m-q`` to each queue ``q``; ``needs`` names those that ask for a consumer by themselves."""
    messages = [
        Addressed(stage.list_key(name, step), stage.list_key(name), stage.raw(f"m-{name}", f"r-{name}"),
                  every or name in needs)
        for name in names
    ]  # fmt: skip
    return broadcast(stage.scope, messages, due_ms=due_ms, task="t", guarantee="g", all_or_none=every)


def send(stage: Stage, *names: str, **options: object) -> Published:
    """The same, done."""
    return Published.parse(stage.run(call(stage, *names, **options)))  # type: ignore[arg-type]


def takes(stage: Stage, consumer: str, *names: str) -> int:
    """A consumer says from which queues it takes."""
    return int(stage.run(consume(stage.keys, consumer, [stage.list_key(name) for name in names])))


def taken_from(stage: Stage, consumer: str) -> set[str]:
    """What it said, by short names."""
    members = stage.client.smembers(stage.keys.consuming(consumer))
    return {name.decode().removeprefix(f"{stage.prefix}.") for name in members}


def refused(stage: Stage, name: str) -> bytes | None:
    """What a receipt remembers of a refusal."""
    return stage.client.hget(stage.keys.delivery(long(f"r-{name}")), "refused")  # type: ignore[no-any-return]


def test_each_queue_gets_its_message_and_each_message_a_receipt(stage: Stage) -> None:
    """With its bell rung, and the ledger in balance."""
    assert send(stage, "a", "b", every=False) == Published(2, {})
    assert stage.state() == State(queued={"a": ["m-a"], "b": ["m-b"]}, rung={"a", "b"})
    receipt = stage.client.hgetall(stage.keys.delivery(long("r-b")))
    said = {b"task": b"t", b"guarantee": b"g", b"task_id": long("r-b").encode(), b"state": b"queued",
            b"queue": stage.list_key("b").encode(), b"message": long("m-b").encode()}  # fmt: skip
    assert said.items() <= receipt.items()
    assert 0 < stage.client.pttl(stage.keys.delivery(long("r-b"))) <= 60_000
    assert stage.ledger().counters == {"published": 2}


def test_messages_go_to_the_list_of_their_priority_or_wait_until_they_are_due(stage: Stage) -> None:
    """As any publication."""
    assert send(stage, "a", every=False, step=6) == Published(1, {})
    assert send(stage, "b", every=False, due_ms=stage.now_ms() + 60_000) == Published(1, {})
    assert stage.state() == State(queued={"a:6": ["m-a"]}, scheduled=["m-b"], rung={"a", "b"})


def test_all_get_it_where_a_live_consumer_takes_from_each(stage: Stage) -> None:
    """It need not be the same consumer; others take part without being asked."""
    stage.join("v", "w", "x")
    assert [takes(stage, "v", "a", "c"), takes(stage, "w", "b"), takes(stage, "x")] == [1, 1, 1]
    assert send(stage, "a", "b", "c") == Published(3, {})
    assert stage.state().queued == {"a": ["m-a"], "b": ["m-b"], "c": ["m-c"]}


@pytest.mark.parametrize("fault", ["unknown", "paused", "lapsed", "left", "recovered", "no_list"])
def test_none_gets_it_when_one_cannot(stage: Stage, fault: str) -> None:
    """And nothing is changed, but for what remembers the refusal."""
    stage.join("v", "w")
    takes(stage, "v", "a", "c")
    takes(stage, "w", "b")
    if fault == "unknown":
        takes(stage, "w", "other")
    elif fault == "paused":
        takes(stage, "w")
    elif fault == "lapsed":
        stage.expire("w")
    elif fault == "left":
        stage.run(calls.leave(stage.keys, "w"))
    elif fault == "recovered":
        stage.expire("w")
        stage.recover("v")
        stage.join("w")  # a new one of the same name has said nothing yet
    else:
        stage.client.set(stage.list_key("b", 3), "text")
    before = stage.state()
    why = NOT_A_QUEUE if fault == "no_list" else NO_CONSUMER
    assert send(stage, "a", "b", "c", step=3 if fault == "no_list" else 0) == Published(0, {1: why})
    assert stage.state() == before
    assert [refused(stage, name) for name in "abc"] == [None, why.encode(), None]
    assert 0 < stage.client.pttl(stage.keys.delivery(long("r-b"))) <= 600_000


def test_whoever_can_have_it_gets_it_otherwise(stage: Stage) -> None:
    """The others are named, each with its reason: only those ask for a consumer that must have one."""
    stage.join("v")
    takes(stage, "v", "a")
    stage.client.set(stage.list_key("d"), "text")
    told = send(stage, "a", "b", "c", "d", every=False, needs="ab")
    assert told == Published(2, {1: NO_CONSUMER, 3: NOT_A_QUEUE})
    stage.client.delete(stage.list_key("d"))
    assert stage.state() == State(queued={"a": ["m-a"], "c": ["m-c"]}, leases={"v"}, rung={"a", "c"})


@pytest.mark.parametrize("every", [True, False])
def test_a_repeat_publishes_nothing_and_is_told_the_same(stage: Stage, every: bool) -> None:
    """Also when the consumers are gone by then, and the messages are under way, retried or done."""
    stage.join("v")
    takes(stage, "v", "a", "b")
    assert send(stage, "a", "b", every=every, needs="a") == Published(2, {})
    stage.take("v", 1, stage.list_key("a"))
    stage.ack("v", "m-a")
    stage.client.hset(stage.keys.delivery(long("r-b")), "message", long("a retry by its task"))
    takes(stage, "v")
    before = stage.state()
    assert send(stage, "a", "b", every=every, needs="a") == Published(0, {})
    assert stage.state() == before
    assert stage.ledger().counters == {"published": 2, "acked": 1}


@pytest.mark.parametrize("every", [True, False])
def test_a_repeat_of_what_was_refused_is_refused(stage: Stage, every: bool) -> None:
    """Also when a consumer has come by then: whoever was told no must not find it published."""
    stage.join("v")
    takes(stage, "v", "a")
    first = send(stage, "a", "b", every=every, needs="b")
    takes(stage, "v", "a", "b")
    again = send(stage, "a", "b", every=every, needs="b")
    assert first.refused == again.refused == {1: NO_CONSUMER}
    assert stage.state().queued == ({} if every else {"a": ["m-a"]})


def test_a_thousand_recipients_and_many_consumers_are_one_call(stage: Stage) -> None:
    """What Lua can hold at once is enough."""
    names = [f"q{number}" for number in range(1000)]
    for at in range(20):
        stage.join(f"v{at}")
        takes(stage, f"v{at}", *names[at * 50 : at * 50 + 50])
    assert send(stage, *names) == Published(1000, {})
    assert [stage.client.llen(stage.list_key(name)) for name in names] == [1] * 1000
    takes(stage, "v7", "lone")
    stage.expire("v7")
    more = [f"{name}x" for name in names]
    takes(stage, "v0", *more)
    assert send(stage, *more[:-1], "lone").refused == {999: NO_CONSUMER}


def test_what_a_consumer_says_replaces_what_it_said(stage: Stage) -> None:
    """These queues and no others; a thousand and more as well."""
    stage.join("v")
    many = [f"q{number}" for number in range(2500)]
    assert takes(stage, "v", *many) == 1
    assert taken_from(stage, "v") == set(many)
    assert takes(stage, "v", "a") == 1
    assert taken_from(stage, "v") == {"a"}
    assert takes(stage, "v") == 1
    assert not stage.client.exists(stage.keys.consuming("v"))


def test_who_has_no_lease_says_nothing(stage: Stage) -> None:
    """For nobody would clear it away. One whose lease has run out, but was not taken away, may."""
    assert takes(stage, "v", "a") == -1
    assert not stage.client.exists(stage.keys.consuming("v"))
    stage.join("v")
    stage.expire("v")
    assert takes(stage, "v", "a") == 1


@pytest.mark.parametrize("holding", [True, False])
def test_nothing_of_it_stays_when_the_consumer_goes(stage: Stage, holding: bool) -> None:
    """Whether it says goodbye or not, and with messages in hand or without."""
    stage.join("v", "w")
    takes(stage, "v", "q")
    takes(stage, "w", "q")
    if holding:
        stage.publish("m1")
        stage.publish("m2")
        stage.take("v", 1)
        stage.take("w", 1)
    stage.run(calls.leave(stage.keys, "v"))
    stage.expire("w")
    stage.recover()
    stage.recover()
    left = [key.decode() for key in stage.client.scan_iter(f"{stage.prefix}:consuming:*", count=10_000)]
    assert left == []
    assert takes(stage, "w", "q") == -1
