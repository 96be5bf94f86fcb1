"""ack, release and the late ack: how a message that is held ends well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.stage import State, long

if TYPE_CHECKING:
    from tests.integration.stage import Stage


@pytest.fixture
def held(stage: Stage) -> Stage:
    """Consumer ``w`` holds ``a``, ``b`` and ``c``, each with a receipt."""
    stage.join("w")
    for name in "abc":
        stage.publish(name, receipt=f"r-{name}")
    stage.take("w")
    return stage


def test_an_ack_removes_the_message_and_settles_its_receipt(held: Stage) -> None:
    """Also its begin mark."""
    held.begin("w", "a", "b")
    assert held.ack("w", "a") == 1
    assert held.state() == State(inflight={"w": ["b", "c"]}, started={"w": ["b"]}, leases={"w"})
    assert held.ledger().counters == {"published": 3, "acked": 1}
    assert [held.receipt(f"r-{name}")[0] for name in "abc"] == ["acked", "started", "claimed"]
    assert held.history("r-a") == ["queued", "claimed", "started", "acked"]


def test_an_ack_without_plus_does_not_look_inside(held: Stage) -> None:
    """A message without receipt and crashes costs no more than its removal."""
    assert held.run(held.scope.ack("w", [str(held.seqs("w")["a"])])) == 1
    assert held.state() == State(inflight={"w": ["b", "c"]}, leases={"w"})
    assert held.receipt("r-a")[0] == "claimed"


@pytest.mark.parametrize("suffix", ["", "+"])
def test_an_ack_of_what_is_not_held_changes_nothing(held: Stage, suffix: str) -> None:
    """Unknown seqs, and repeats after a reply was lost, are not counted."""
    seq = held.seqs("w")["a"]
    acked = [f"{seq}{suffix}", f"{seq}{suffix}", f"99{suffix}"]
    assert held.run(held.scope.ack("w", acked)) == 1
    before = held.state()
    assert held.run(held.scope.ack("w", acked)) == 0
    assert held.run(held.scope.ack("nobody", acked)) == 0
    assert held.state() == before
    assert held.ledger().counters == {"published": 3, "acked": 1}


def test_an_ack_forgets_crashes(held: Stage) -> None:
    """The message has come through after all."""
    held.client.hset(held.keys.crashes, mapping={long("a"): 2, long("b"): 1})
    held.ack("w", "a")
    assert held.state() == State(inflight={"w": ["b", "c"]}, crashes={"b": 1}, leases={"w"})


def test_acks_and_begins_go_together(held: Stage) -> None:
    """One call settles what is done and marks what is begun."""
    seqs = held.seqs("w")
    assert held.run(held.by("w").ack("w", [f"{seqs['a']}+"], [f"{seqs['b']}+", str(seqs["c"])])) == 1
    assert held.state() == State(inflight={"w": ["b", "c"]}, started={"w": ["b", "c"]}, leases={"w"})
    assert [held.receipt(f"r-{name}")[0] for name in "abc"] == ["acked", "started", "claimed"]


def test_a_begin_mark_says_when(held: Stage) -> None:
    """By the clock of Redis."""
    before_ms = held.now_ms()
    held.begin("w", "a")
    marks = held.client.hgetall(held.keys.started("w"))
    assert before_ms <= int(marks[str(held.seqs("w")["a"]).encode()]) <= held.now_ms()


def test_only_what_is_held_can_be_begun(held: Stage) -> None:
    """A mark without a message would charge whoever gets that seq... nobody does, but it would stay for ever."""
    seq = held.seqs("w")["a"]
    held.ack("w", "a")
    held.run(held.scope.ack("w", [], [str(seq), "99", "98+"]))
    held.run(held.scope.ack("nobody", [], [str(held.seqs("w")["b"])]))
    assert held.state() == State(inflight={"w": ["b", "c"]}, leases={"w"})


def test_a_release_gives_back_in_the_old_order(held: Stage) -> None:
    """At the consuming end, before what came later; uncharged, and no longer begun."""
    held.publish("later")
    held.begin("w", "b")
    assert held.release("w", "a", "b", "c") == 3
    assert held.state() == State(queued={"q": ["a", "b", "c", "later"]}, leases={"w"}, rung={"q"})
    assert held.ledger().counters == {"published": 4, "released": 3}
    assert held.history("r-a") == ["queued", "claimed", "queued"]


def test_a_release_of_what_is_not_held_changes_nothing(held: Stage) -> None:
    """Repeats are harmless."""
    seqs = list(held.seqs("w").values())
    held.release("w", "a", "b", "c")
    before = held.state()
    assert held.run(held.scope.release("w", [*seqs, 99])) == 0
    assert held.state() == before


def test_a_release_may_be_until_a_time(held: Stage) -> None:
    """A message that is not due yet waits in Redis, not in a worker."""
    due_ms = held.now_ms() + 60_000
    assert held.release("w", "a", "b", due_ms=due_ms) == 2
    assert held.state() == State(scheduled=["a", "b"], inflight={"w": ["c"]}, leases={"w"}, rung={"q"})
    assert [held.due_ms(name) for name in "ab"] == [due_ms, due_ms]
    assert held.receipt("r-a")[0] == "scheduled"


def test_a_released_stock_message_leaves_the_ledger(stage: Stage) -> None:
    """As if it had never been taken: a stock worker may take it next."""
    stage.join("w")
    stage.publish_stock("s")
    stage.take("w")
    stage.release("w", "s")
    assert stage.state() == State(queued={"q": ["s"]}, leases={"w"}, rung={"q"}, stock={"s"})
    assert stage.ledger().counters == {"adopted": 0, "released": 1}


@pytest.fixture
def reaped(held: Stage) -> Stage:
    """Consumer ``w`` began ``a`` and was reaped; everything is back on the queue."""
    held.begin("w", "a")
    held.expire("w")
    held.recover()
    assert held.state() == State(queued={"q": ["a", "b", "c"]}, crashes={"a": 1}, rung={"q"})
    return held


def late(stage: Stage, raw: bytes) -> int:
    """A late ack by the reaped consumer."""
    return int(stage.run(stage.by("w").ack_late(stage.list_key(), raw)))


def test_a_late_ack_removes_the_restored_copy(reaped: Stage) -> None:
    """It has run, so it need not run again; its crash did not happen either."""
    assert late(reaped, reaped.raw("a", "r-a")) == 1
    assert reaped.state() == State(queued={"q": ["b", "c"]}, rung={"q"})
    assert reaped.ledger().counters["acked"] == 1
    assert reaped.receipt("r-a") == ("acked", "w", "")


def test_a_late_ack_comes_too_late_for_what_is_run_again(reaped: Stage) -> None:
    """That is the duplicate which at-least-once allows; it will be acked by whoever has it now."""
    reaped.join("v")
    reaped.take("v", 1)
    before = reaped.state()
    assert late(reaped, reaped.raw("a", "r-a")) == 0
    assert reaped.state() == before
    assert reaped.receipt("r-a") == ("claimed", "v", "")


def test_a_late_ack_is_given_once(reaped: Stage) -> None:
    """A repeat finds nothing."""
    assert [late(reaped, reaped.raw("a", "r-a")) for _ in range(2)] == [1, 0]
    assert reaped.ledger().counters["acked"] == 1


def test_a_late_ack_finds_a_copy_in_the_schedule(held: Stage) -> None:
    """A message with crashes waits there."""
    held.client.hset(held.keys.crashes, long("a"), 1)
    held.begin("w", "a")
    held.expire("w")
    held.recover()
    assert held.state() == State(queued={"q": ["b", "c"]}, scheduled=["a"], crashes={"a": 2}, rung={"q"})
    assert late(held, held.raw("a", "r-a")) == 1
    assert held.state() == State(queued={"q": ["b", "c"]}, rung={"q"})


def test_a_late_ack_removes_one_copy_of_a_stock_message(stage: Stage) -> None:
    """It goes through the ledger as if it had been taken."""
    stage.join("w")
    stage.publish_stock("s", "other")
    stage.take("w", 1)
    stage.expire("w")
    stage.recover()
    assert late(stage, stage.stock_raw("s")) == 1
    assert stage.state() == State(queued={"q": ["other"]}, rung={"q"}, stock={"other"})
    assert stage.ledger().counters == {"adopted": 1, "acked": 1, "recovered": 1}


@pytest.mark.parametrize(("before_it", "found"), [(9_999, 1), (10_000, 0)])
def test_a_late_ack_looks_through_ten_thousand_messages(reaped: Stage, before_it: int, found: int) -> None:
    """From the consuming end, where restored copies stand; further on would cost Redis too long."""
    others = [reaped.raw(f"m{number}") for number in range(before_it)]
    list_key = reaped.list_key("long")
    reaped.client.rpush(list_key, reaped.raw("it"), *others)
    assert int(reaped.run(reaped.scope.ack_late(list_key, reaped.raw("it")))) == found
    assert reaped.client.lrange(list_key, 0, -1) == ([] if found else [reaped.raw("it")]) + others
