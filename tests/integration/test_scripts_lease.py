"""renew, leave, and what a stock worker left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening.core.scripts import calls
from tests.integration.stage import State

if TYPE_CHECKING:
    from tests.integration.stage import Stage


def renew(stage: Stage, consumer: str, *, ttl_ms: int = 5000, join: bool = False, about: str = "{}") -> int:
    """Renews a lease."""
    return int(stage.run(calls.renew(stage.keys, consumer, ttl_ms, join=join, about=about)))


def leave(stage: Stage, consumer: str) -> int:
    """Ends a lease."""
    return int(stage.run(calls.leave(stage.keys, consumer)))


def expiry_ms(stage: Stage, consumer: str) -> int:
    """When a lease runs out."""
    return int(stage.client.zscore(stage.keys.leases, consumer))


def test_a_lease_runs_until_its_time_by_the_clock_of_redis(stage: Stage) -> None:
    """Each renewal counts from now, and may say something new."""
    before_ms = stage.now_ms()
    assert renew(stage, "w", join=True, about="one") == 1
    assert before_ms + 5000 <= expiry_ms(stage, "w") <= stage.now_ms() + 5000
    assert renew(stage, "w", ttl_ms=60_000, about="two") == 1
    assert before_ms + 60_000 <= expiry_ms(stage, "w") <= stage.now_ms() + 60_000
    assert stage.client.hgetall(stage.keys.members) == {b"w": b"two"}
    assert stage.state() == State(leases={"w"})


def test_a_lease_that_was_taken_away_is_not_renewed(stage: Stage) -> None:
    """Its consumer must take a new name; nothing is left of the old one."""
    stage.join("w")
    stage.expire("w")
    stage.recover()
    assert renew(stage, "w") == -1
    assert stage.state() == State()
    assert stage.client.hgetall(stage.keys.members) == {}


def test_a_lease_that_ran_out_but_was_not_taken_away_is_renewed(stage: Stage) -> None:
    """Nobody has touched its messages."""
    stage.join("w")
    stage.expire("w")
    assert renew(stage, "w") == 1
    stage.recover()
    assert stage.state() == State(leases={"w"})


def test_who_never_joined_cannot_renew(stage: Stage) -> None:
    """That is what having been taken away looks like."""
    assert renew(stage, "w") == -1


def test_who_leaves_with_nothing_in_hand_is_forgotten(stage: Stage) -> None:
    """There is nothing to recover. Leaving twice is as good as once."""
    stage.join("w", "v")
    assert [leave(stage, "w"), leave(stage, "w")] == [0, 0]
    assert stage.state() == State(leases={"v"})
    assert stage.client.hkeys(stage.keys.members) == [b"v"]


def test_who_leaves_messages_behind_is_recovered_at_once(stage: Stage) -> None:
    """Without waiting for the lease to run out; what it had begun is charged."""
    stage.join("w")
    for name in "ab":
        stage.publish(name)
    stage.take("w")
    stage.begin("w", "a")
    assert [leave(stage, "w"), leave(stage, "w")] == [2, 2]
    assert stage.state() == State(inflight={"w": ["a", "b"]}, started={"w": ["a"]}, dead={"w"})
    assert renew(stage, "w") == -1
    recovery = stage.recover()
    assert (recovery.consumer, recovery.restored, recovery.charged, recovery.more) == ("w", 2, 1, False)
    assert stage.state() == State(queued={"q": ["a", "b"]}, crashes={"a": 1}, rung={"q"})


@pytest.mark.parametrize("swept", [1, 2])
def test_who_leaves_in_the_middle_of_its_recovery_changes_nothing(stage: Stage, swept: int) -> None:
    """It was declared dead; a sweep has moved some of its messages, or all."""
    stage.join("w")
    for name in "ab":
        stage.publish(name)
    stage.take("w")
    stage.expire("w")
    for _ in range(swept):
        stage.recover(limit=1)
    before = stage.state()
    assert leave(stage, "w") == 2 - swept
    assert stage.state() == before
    stage.recover()
    assert sorted(stage.state().queued["q"]) == ["a", "b"]


def test_what_a_stock_worker_left_is_given_back_once(stage: Stage) -> None:
    """To the consuming end, by whoever is first."""
    keys = f"{stage.prefix}:unacked", f"{stage.prefix}:unacked_index"
    stage.client.hset(keys[0], "tag", "whatever kombu writes")
    stage.client.zadd(keys[1], {"tag": 1})
    stage.publish("waiting")
    call = calls.restore_stock(stage.keys, b"tag", stage.list_key(), stage.stock_raw("s"))
    there = type(call)(call.script, (*keys, stage.list_key()), call.args)
    assert [stage.run(there), stage.run(there)] == [1, 0]
    assert stage.client.exists(*keys) == 0
    assert stage.state() == State(queued={"q": ["s", "waiting"]}, rung={"q"}, stock={"s"})
