"""subscribe, unsubscribe, read_subscriptions, list_subscriptions and emit: who is told of a signal, and who is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hardening.core.scripts import signalling
from tests.integration.signalled import GRACE_MS, Signals
from tests.integration.stage import State

if TYPE_CHECKING:
    from tests.integration.stage import Stage


@pytest.fixture
def signals(stage: Stage) -> Signals:
    """Nobody has subscribed."""
    return Signals(stage)


def waiting(stage: Stage, queue: str) -> list[str]:
    """The names of messages in a queue that is not the stage's, next to be taken first."""
    return [json.loads(raw)["headers"]["id"] for raw in stage.client.lrange(queue, 0, -1)[::-1]]


def test_a_subscription_is_made_once_and_has_a_version(signals: Signals) -> None:
    """Making it again changes nothing; what is said of it otherwise is a change."""
    assert signals.read() == ("", "", {})
    assert [signals.subscribe("a"), signals.subscribe("b")] == [["a", 1], ["b", 1]]
    first = signals.version
    assert signals.subscribe("a") == ["a", 0]
    assert signals.read(first) == (first, first, {})
    assert signals.subscribe("a", about='{"x": 1}') == ["a", 1]
    since, second, changed = signals.read(first)
    assert (since, changed, second != first) == (first, {"a": '\x1f{"x": 1}'}, True)
    assert signals.read() == ("", second, {"a": '\x1f{"x": 1}', "b": "\x1f{}"})


def test_what_ended_is_told_as_nothing_and_ends_once(signals: Signals) -> None:
    """So that others forget it, too."""
    signals.subscribe("a", ttl_ms=60_000)
    version = signals.version
    assert [signals.unsubscribe("a", "b"), signals.unsubscribe("a")] == [1, 0]
    assert signals.read(version)[2] == {"a": ""}
    assert not signals.stage.client.exists(signals.stage.keys.signal_expiring, signals.stage.keys.signal_subscriptions)


def test_who_knows_a_version_that_is_forgotten_is_told_all(signals: Signals) -> None:
    """The stream of changes is bounded, and one of another life is no version."""
    signals.subscribe("a")
    old = signals.version
    signals.subscribe("b")
    signals.stage.client.xtrim(signals.stage.keys.signal_changes, maxlen=1, approximate=False)
    assert signals.read(old)[0] == ""
    assert signals.read("1-1") == ("", signals.version, {"a": "\x1f{}", "b": "\x1f{}"})
    for _ in range(1300):
        signals.unsubscribe("b")
        signals.subscribe("b")
    assert signals.stage.client.xlen(signals.stage.keys.signal_changes) < 1300


def test_a_signal_goes_to_all_at_once(signals: Signals) -> None:
    """Bells ring, the ledger is in balance, and the answer says how many."""
    signals.subscribe("a")
    assert signals.emit(1, signals.copy("x"), signals.copy("y", "r")) == "2"
    assert signals.stage.state() == State(queued={"q": ["x"], "r": ["y"]}, rung={"q", "r"})
    assert signals.stage.ledger().counters == {"published": 2}
    assert signals.stats() == {"emitted": 1, "routed": 2}


def test_who_knows_other_subscriptions_emits_nothing(signals: Signals) -> None:
    """Not even a count; whoever knows of nobody, before anybody has subscribed, is right."""
    assert signals.emit(1, version="") == "0"
    assert signals.stats() == {"emitted": 1, "unrouted": 1}
    signals.subscribe("a")
    known = signals.version
    signals.subscribe("b")
    for version in ("", known):
        assert signals.emit(2, signals.copy("x"), version=version) == 0
    assert (signals.stage.state().queued, signals.stats()) == ({}, {"emitted": 1, "unrouted": 1})
    assert signals.emit(2, signals.copy("x")) == "1"


def test_a_repeat_publishes_nothing_and_gets_the_first_answer(signals: Signals) -> None:
    """Also when subscriptions have changed since; an attempt that comes late, after a newer signal, does nothing."""
    stage = signals.stage
    stage.client.set(stage.list_key("r"), "no list")
    signals.subscribe("a")
    copies = (signals.copy("x"), signals.copy("y", "r"))
    answer = signals.emit(7, *copies)
    assert answer == "1 1 not_a_queue"
    signals.subscribe("b")
    assert signals.emit(7, *copies, version="stale") == answer
    assert signals.emit(6, *copies) == answer
    assert (stage.state().queued, signals.stats()) == (
        {"q": ["x"]}, {"emitted": 1, "routed": 1, "dropped:not_a_queue": 1}
    )  # fmt: skip
    assert 0 < stage.client.pttl(stage.keys.signal_emitter("m")) <= 60_000
    assert signals.emit(8, signals.copy("z")) == "1"


def test_more_of_a_signal_is_no_other_signal(signals: Signals) -> None:
    """It is counted once; how long an earlier one took is counted with it."""
    signals.emit(1, signals.copy("x"), took=("200", 150))
    signals.emit(2, signals.copy("y"), is_first=False)
    signals.emit(3, is_first=False)
    assert signals.stats() == {"emitted": 1, "routed": 2, "unrouted": 0, "us<200": 1, "us": 150}


def test_a_subscription_ends_when_its_time_is_over(signals: Signals) -> None:
    """It may be renewed; over, it is removed by the first signal that meets it, and told of no other."""
    stage = signals.stage
    signals.subscribe("a", ttl_ms=60_000)
    ends = stage.client.zscore(stage.keys.signal_expiring, "a")
    stage.client.zadd(stage.keys.signal_expiring, {"a": ends - 30_000})
    assert signals.emit(1, signals.copy("x", conditions=[("a", "")])) == "1"
    assert signals.subscribe("a", ttl_ms=60_000) == ["a", 0]
    assert stage.client.zscore(stage.keys.signal_expiring, "a") >= ends
    stage.client.zadd(stage.keys.signal_expiring, {"a": stage.now_ms() - 1})
    version = signals.version
    assert signals.emit(2, signals.copy("y", conditions=[("a", "")])) == "0 0 expired"
    assert signals.read(version)[2] == {"a": ""}
    assert signals.emit(3, signals.copy("z", conditions=[("a", "")]), version=version) == 0
    assert stage.state().queued == {"q": ["x"]}


def test_one_subscription_that_lives_is_enough(signals: Signals) -> None:
    """And it is looked no further."""
    signals.subscribe("a", ttl_ms=60_000)
    signals.subscribe("b", ttl_ms=60_000)
    signals.stage.client.zadd(signals.stage.keys.signal_expiring, {"a": 1})
    assert signals.emit(1, signals.copy("x", conditions=[("a", ""), ("b", "")])) == "1"
    assert list(signals.read()[2]) == ["b"]


def test_a_subscription_may_gain_and_lose_its_time_to_live(signals: Signals) -> None:
    """Whoever renews it says how long it lives."""
    keys = signals.stage.keys
    signals.subscribe("a", ttl_ms=60_000)
    signals.subscribe("a", about='{"x": 1}')
    assert signals.stage.client.zscore(keys.signal_expiring, "a") is None


def test_a_subscription_is_tied_to_a_process(signals: Signals) -> None:
    """By the name that Celery gives it; another under the same name has one of its own, and both end by themselves."""
    stage = signals.stage
    stage.join("w", "v")
    stage.client.hset(stage.keys.nodes, "mail@host", "w")
    assert signals.subscribe("a", "node:mail@host") == ["a@w", 1]
    assert signals.subscribe("a", "node:v") == ["a@v", 1]
    ties = [("a@v", "worker:v"), ("a@w", "worker:w")]
    assert signals.read()[2] == {name: f"{tie}\x1f{{}}" for name, tie in ties}
    stage.client.zrem(stage.keys.leases, "w")
    assert signals.emit(1, signals.copy("x", conditions=[ties[1]])) == "0 0 worker_gone"
    assert signals.emit(2, signals.copy("y", conditions=ties)) == "1"
    assert list(signals.read()[2]) == ["a@v"]


def test_a_worker_whose_lease_ran_out_may_come_back(signals: Signals) -> None:
    """For the time of another lease it is taken to live; then it is passed over, until it is declared dead."""
    stage = signals.stage
    stage.join("w")
    signals.subscribe("a", "node:w")
    conditions = [("a@w", "worker:w")]
    version = signals.version
    stage.client.zadd(stage.keys.leases, {"w": stage.now_ms() - GRACE_MS // 2})
    assert signals.emit(1, signals.copy("x", conditions=conditions)) == "1"
    stage.client.zadd(stage.keys.leases, {"w": stage.now_ms() - GRACE_MS})
    assert signals.emit(2, signals.copy("y", conditions=conditions)) == "0 0 worker_silent"
    assert signals.subscribe("b", "node:w") == ["", "worker_silent"]
    assert signals.version == version
    stage.join("w")
    assert signals.emit(3, signals.copy("z", conditions=conditions)) == "1"
    stage.expire("w")
    stage.recover("v")
    assert signals.emit(4, signals.copy("u", conditions=conditions)) == "0 0 worker_gone"


@pytest.mark.parametrize("end", ["stopped", "unknown"])
def test_a_subscription_is_tied_to_an_agent(signals: Signals, end: str) -> None:
    """Paused, it goes on; stopped or gone, it is over."""
    stage = signals.stage
    tie = f"agent:{signals.mailbox('a')}"
    key = f"{stage.prefix}:mailbox:{tie.removeprefix('agent:')}"
    assert signals.subscribe("s", "agent:nobody") == ["", "agent_gone"]
    assert signals.subscribe("s", tie) == ["s", 1]
    stage.client.hset(key, "halt", "paused")
    assert signals.emit(1, signals.copy("x", conditions=[("s", tie)])) == "1"
    if end == "stopped":
        stage.client.hset(key, "halt", end)
    else:
        stage.client.delete(key)
    assert signals.emit(2, signals.copy("y", conditions=[("s", tie)])) == "0 0 agent_gone"
    assert signals.read()[2] == {}


def test_nothing_is_tied_to_what_is_not_there(signals: Signals) -> None:
    """Nor is anything written."""
    assert signals.subscribe("a", "node:mail@host") == ["", "worker_gone"]
    assert signals.read() == ("", "", {})


def test_subscriptions_that_no_signal_meets_do_not_pile_up(signals: Signals) -> None:
    """Others that are over are ended by and by, as new ones come; silent ones stay."""
    stage = signals.stage
    stage.join("w", "v")
    for number in range(30):
        signals.subscribe(f"a{number}", "node:w")
    signals.subscribe("b", "node:v")
    stage.expire("w")
    signals.subscribe("n0")
    assert len(signals.read()[2]) == 32
    stage.client.zrem(stage.keys.leases, "w")
    for number in range(20):
        signals.subscribe(f"n{number}")
    assert len(signals.read()[2]) < 32
    for number in range(200):
        signals.subscribe(f"n{number % 20}")
    assert sorted(signals.read()[2]) == sorted(["b@v", *(f"n{number}" for number in range(20))])


@pytest.mark.parametrize("when_full", ["reject", "drop_newest", "block", ""])
def test_what_a_full_mailbox_cannot_take_is_a_dead_letter(signals: Signals, when_full: str) -> None:
    """Nobody waits for room; others get theirs, and the ledger is in balance."""
    stage = signals.stage
    queue = signals.mailbox("a", bound=2, **({"when_full": when_full} if when_full else {}))
    said = [signals.emit(number, signals.to_agent(f"x{number}", "a")) for number in (1, 2)]
    assert said == ["1", "1 0 filled:2/2"]
    assert signals.emit(3, signals.to_agent("x3", "a"), signals.copy("y")) == "1 0 mailbox_full"
    assert waiting(stage, queue) == ["x1", "x2"]
    state = stage.state()
    assert (state.queued["q"], state.buried) == (["y"], [("x3", "mailbox_full")])
    assert stage.ledger().counters == {"published": 4, "dead": 1, "mailbox_drops": 1}
    assert stage.client.hget(f"{stage.prefix}:mailbox:{queue}", "drops") == b"1"
    assert signals.stats() == {"emitted": 3, "routed": 3, "dropped:mailbox_full": 1}
    (letter,) = stage.client.xrange(stage.keys.dlq)
    assert letter[1][b"error"].decode() == "the mailbox is bound to 2 messages"


def test_a_full_mailbox_may_lose_its_oldest_instead(signals: Signals) -> None:
    """Also one of a stock producer, which had not been counted yet."""
    stage = signals.stage
    queue = signals.mailbox("a", bound=2, when_full="drop_oldest")
    stage.client.lpush(queue, stage.stock_raw("s"))
    signals.emit(1, signals.to_agent("x1", "a"))
    assert signals.emit(2, signals.to_agent("x2", "a")) == "1 0 mailbox_full_oldest"
    assert signals.emit(3, signals.to_agent("x3", "a")) == "1 0 mailbox_full_oldest"
    assert waiting(stage, queue) == ["x2", "x3"]
    assert stage.state().buried == [("s", "mailbox_full"), ("x1", "mailbox_full")]
    assert stage.ledger().counters == {"published": 3, "adopted": 1, "dead": 2, "mailbox_drops": 2}
    assert signals.stats() == {"emitted": 3, "routed": 3, "dropped:mailbox_full_oldest": 2}


def test_that_a_mailbox_fills_is_told_once(signals: Signals) -> None:
    """As where it is told something; and again only after it was three quarters empty."""
    stage = signals.stage
    queue = signals.mailbox("a", bound=4)
    key = f"{stage.prefix}:mailbox:{queue}"
    said = [signals.emit(number, signals.to_agent(f"x{number}", "a")) for number in range(1, 5)]
    assert said == ["1", "1", "1 0 filled:3/4", "1"]
    assert stage.client.hget(key, "warned") == b"1"
    stage.client.ltrim(queue, 0, 0)
    signals.emit(5, signals.to_agent("x5", "a"))
    assert stage.client.hget(key, "warned") == b"1"
    stage.client.delete(queue)
    signals.emit(6, signals.to_agent("x6", "a"))
    assert stage.client.hget(key, "warned") is None
    assert signals.stats() == {"emitted": 6, "routed": 6}


def test_a_queue_without_a_bound_takes_all(signals: Signals) -> None:
    """A mailbox of no bound, one that nobody made, and any other queue, whatever hash it has."""
    stage = signals.stage
    signals.mailbox("a")
    stage.client.hset(f"{stage.prefix}:mailbox:{stage.list_key()}", "bound", 1)
    copies = (signals.to_agent("x", "a"), signals.to_agent("y", "b"), signals.copy("z"))
    assert [signals.emit(number, *copies) for number in (1, 2)] == ["3", "3"]


def test_subscriptions_are_listed_as_they_stand(signals: Signals) -> None:
    """Those that are over, too."""
    stage = signals.stage
    stage.join("w")
    signals.subscribe("a")
    signals.subscribe("b", "node:w", ttl_ms=60_000)
    signals.subscribe("c", ttl_ms=60_000)
    stage.client.zadd(stage.keys.signal_expiring, {"c": 1})
    stage.client.zadd(stage.keys.leases, {"w": stage.now_ms() - GRACE_MS})
    reply = stage.run(signalling.list_subscriptions(stage.keys, GRACE_MS))
    rows = {name: (text, left, why) for name, text, left, why in zip(*[iter(reply)] * 4, strict=True)}
    assert (rows[b"a"], rows[b"c"]) == ((b"\x1f{}", -1, b""), (b"\x1f{}", 0, b"expired"))
    assert rows[b"b@w"][0::2] == (b"worker:w\x1f{}", b"worker_silent")
    assert 0 < rows[b"b@w"][1] <= 60_000
