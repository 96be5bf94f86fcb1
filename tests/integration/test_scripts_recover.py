"""recover and crash: what the dead had taken comes back, and poison is contained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening.core.scripts import Buried, Death, Recovery
from tests.integration.stage import State, long

if TYPE_CHECKING:
    from tests.integration.stage import Stage

NOBODY = Recovery("", 0, 0, [], more=False)


def taken(stage: Stage, consumer: str, *names: str) -> None:
    """A consumer has taken messages."""
    stage.join(consumer)
    for name in names:
        stage.publish(name, receipt=f"r-{name}")
    stage.take(consumer)


def test_the_living_are_left_alone(stage: Stage) -> None:
    """However long they hold what they hold."""
    taken(stage, "w", "a")
    before = stage.state()
    assert stage.recover() == NOBODY
    assert stage.state() == before


def test_messages_of_the_dead_come_back_in_order(stage: Stage) -> None:
    """Before what was published later, and uncharged, for none was begun."""
    taken(stage, "w", "a", "b", "c")
    stage.publish("later")
    stage.expire("w")
    assert stage.recover() == Recovery("w", 3, 0, [], more=False)
    assert stage.state() == State(queued={"q": ["a", "b", "c", "later"]}, rung={"q"})
    assert stage.ledger().counters == {"published": 4, "recovered": 3}
    assert stage.receipt("r-a") == ("queued", "w", "")
    assert not stage.client.hexists(stage.keys.members, "w")


def test_only_what_was_begun_is_charged(stage: Stage) -> None:
    """What was prefetched beside it is innocent; the first time, all comes back at once."""
    taken(stage, "w", "a", "b", "c")
    stage.begin("w", "b")
    stage.expire("w")
    assert stage.recover() == Recovery("w", 3, 1, [], more=False)
    assert stage.state() == State(queued={"q": ["a", "b", "c"]}, crashes={"b": 1}, rung={"q"})
    assert stage.ledger().counters == {"published": 3, "recovered": 3, "crashes": 1}


def test_each_goes_back_to_the_list_it_came_from(stage: Stage) -> None:
    """Queue and priority step."""
    stage.join("w")
    stage.publish("high", step=3)
    stage.publish("other", queue="p")
    stage.take("w", 10, stage.list_key("q", 3), stage.list_key("p"))
    stage.expire("w")
    stage.recover()
    assert stage.state() == State(queued={"q:3": ["high"], "p": ["other"]}, rung={"q", "p"})


def test_nobody_recovers_itself(stage: Stage) -> None:
    """Who asks is alive, though its lease has run out."""
    taken(stage, "w", "a")
    stage.expire("w")
    before = stage.state()
    assert stage.recover("w") == NOBODY
    assert stage.state() == before


def test_a_large_loss_comes_back_batch_by_batch(stage: Stage) -> None:
    """Each call moves a bounded number, and says whether there is more; none is lost or doubled between."""
    names = [f"m{number:02}" for number in range(25)]
    taken(stage, "w", *names)
    stage.expire("w")
    batches = []
    for _ in range(3):
        recovery = stage.recover(limit=10)
        batches.append((recovery.restored, recovery.more))
        state = stage.state()
        assert state.everywhere() == names
        assert state.dead == ({"w"} if recovery.more else set())
    assert batches == [(10, True), (10, True), (5, False)]
    assert stage.recover() == NOBODY
    assert sorted(stage.state().queued["q"]) == names


def test_the_dead_are_recovered_one_after_the_other(stage: Stage) -> None:
    """A sweep tells of one, and that there is more."""
    for consumer in ("v", "w"):
        taken(stage, consumer, f"of-{consumer}")
    stage.join("idle")
    for consumer in ("v", "w", "idle"):
        stage.expire(consumer)
    sweeps = [stage.recover() for _ in range(3)]
    assert sorted(sweep.consumer for sweep in sweeps) == ["idle", "v", "w"]
    assert [sweep.more for sweep in sweeps] == [True, True, False]
    assert stage.recover() == NOBODY
    state = stage.state()
    assert sorted(state.queued["q"]) == ["of-v", "of-w"]
    assert (state.leases, state.dead) == (set(), set())


def crash_once(stage: Stage, name: str, *, max_crashes: int = 3, base_delay_ms: int = 2000) -> Recovery:
    """The message is taken, begun, and its consumer dies."""
    stage.join("w")
    stage.take("w")
    stage.begin("w", name)
    stage.expire("w")
    return stage.recover(max_crashes=max_crashes, base_delay_ms=base_delay_ms)


def test_the_delay_grows_with_each_crash(stage: Stage) -> None:
    """At once the first time, then base, twice base, four times base ..."""
    stage.publish("bad", receipt="r")
    crash_once(stage, "bad", max_crashes=10)
    assert stage.state() == State(queued={"q": ["bad"]}, crashes={"bad": 1}, rung={"q"})
    delays_ms = []
    for crashes in range(2, 6):
        asked_ms = stage.now_ms()
        crash_once(stage, "bad", max_crashes=10, base_delay_ms=2000)
        assert stage.state() == State(scheduled=["bad"], crashes={"bad": crashes}, rung={"q"})
        delays_ms.append(stage.due_ms("bad") - asked_ms)
        stage.come_due("bad")
    for delay_ms, expected_ms in zip(delays_ms, (2000, 4000, 8000, 16000), strict=True):
        assert expected_ms <= delay_ms < expected_ms + 1500
    assert stage.history("r")[-3:] == ["claimed", "started", "scheduled"]


def test_the_delay_is_never_longer_than_an_hour(stage: Stage) -> None:
    """Longer than crashes are remembered would be for ever; 2^900 ms is no time at all to Redis."""
    stage.publish("bad")
    stage.client.hset(stage.keys.crashes, long("bad"), 900)
    asked_ms = stage.now_ms()
    crash_once(stage, "bad", max_crashes=1000)
    assert 3_600_000 <= stage.due_ms("bad") - asked_ms < 3_601_500
    stage.join("w")
    assert stage.take("w").next_due_ms == stage.due_ms("bad")


def test_a_message_that_crashed_too_often_is_buried(stage: Stage) -> None:
    """With the evidence; and its count is forgotten, for a replay begins anew."""
    stage.publish("bad", receipt="r")
    stage.publish("good")
    stage.client.hset(stage.keys.crashes, long("bad"), 2)
    recovery = crash_once(stage, "bad")
    (letter,) = stage.client.xrange(stage.keys.dlq)
    buried = Buried(letter[0].decode(), stage.list_key(), stage.raw("bad", "r"))
    assert recovery == Recovery("w", 1, 1, [buried], more=False)
    assert stage.state() == State(queued={"q": ["good"]}, buried=[("bad", "crashed")], rung={"q"})
    assert stage.receipt("r") == ("dead", "w", "crashed")
    ((_, entry),) = stage.client.xrange(stage.keys.dlq)
    assert entry == {
        b"raw": stage.raw("bad", "r"), b"list": stage.list_key().encode(), b"message": long("bad").encode(),
        b"receipt": long("r").encode(), b"reason": b"crashed", b"traceback": b"", b"worker": b"w", b"crashes": b"3",
        b"error": b"the worker process died while it ran this message", b"task": b"t", b"fingerprint": b"crashed",
        b"once": b"0", b"group": stage.client.hkeys(stage.keys.dlq_groups)[0],
    }  # fmt: skip


@pytest.mark.parametrize("max_crashes", [1, 2, 5])
def test_the_number_of_crashes_is_the_callers_to_say(stage: Stage, max_crashes: int) -> None:
    """One means: never again."""
    stage.publish("bad")
    for crashes in range(1, max_crashes):
        crash_once(stage, "bad", max_crashes=max_crashes)
        assert stage.state().crashes == {"bad": crashes}
        stage.come_due("bad")
    crash_once(stage, "bad", max_crashes=max_crashes)
    assert stage.state() == State(buried=[("bad", "crashed")], rung=stage.state().rung)


def test_a_stock_message_is_charged_by_its_bytes(stage: Stage) -> None:
    """It has no id of its own; being restored it leaves the ledger, being buried it stays there."""
    stage.publish_stock("s")
    crash_once(stage, "s", max_crashes=2)
    assert stage.ledger().counters == {"adopted": 0, "crashes": 1, "recovered": 1}
    crash_once(stage, "s", max_crashes=2)
    assert stage.state() == State(buried=[("s", "crashed")])
    assert stage.ledger().counters == {"adopted": 1, "crashes": 2, "recovered": 2, "dead": 1}


def test_a_crash_in_a_living_consumer_is_charged_alike(stage: Stage) -> None:
    """A child of its pool was killed: once at once, then later, then no more."""
    taken(stage, "w", "bad", "good")
    replies = []
    for _ in range(3):
        stage.begin("w", "bad")
        replies.append(stage.crash("w", "bad"))
        if replies[-1] == 0:
            assert stage.state().started == {}
            stage.come_due("bad")
            stage.take("w")
    assert replies == [0, 0, 1]
    assert stage.state() == State(inflight={"w": ["good"]}, buried=[("bad", "crashed")], leases={"w"}, rung={"q"})
    ((_, entry),) = stage.client.xrange(stage.keys.dlq)
    assert (entry[b"error"], entry[b"traceback"], entry[b"crashes"]) == (b"it died", b"Traceback ...", b"3")


def test_a_crash_of_what_is_not_held_is_nobodys(stage: Stage) -> None:
    """It was taken away meanwhile: whoever took it has charged it."""
    taken(stage, "w", "bad")
    seq = stage.seqs("w")["bad"]
    stage.begin("w", "bad")
    stage.expire("w")
    stage.recover()
    before = stage.state()
    call = stage.scope.crash("w", seq, max_crashes=3, base_delay_ms=1, death=Death("crashed"))
    assert stage.run(call) == -1
    assert stage.state() == before
