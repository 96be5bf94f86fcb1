"""On a full Redis: what is accepted can still be settled, moved and buried; what is new is refused whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import OutOfMemoryError

from hardening.core.scripts import Death, broadcasting, calls, grouping, keeping, mailing
from hardening.core.scripts.mailing import Halt
from tests.integration.mailroom import Mailroom, names
from tests.integration.stage import Stage, State, long

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardening.core.embedded import EmbeddedRedis


@pytest.fixture
def stage(small_server: EmbeddedRedis, prefix: str) -> Iterator[Stage]:
    """A deployment on it: ``w`` holds ``a``, ``b``, ``c`` and has begun ``a``; ``d`` waits, ``s`` is scheduled."""
    with small_server.client() as client:
        stage = Stage(client, prefix)
        stage.join("w", "v")
        for name in "abcd":
            stage.publish(name, receipt=f"r-{name}")
        stage.publish("s", due_ms=stage.now_ms() + 60_000, receipt="r-s")
        stage.take("w", 3)
        stage.begin("w", "a")
        yield stage
        client.config_set("maxmemory", "256mb")


def fill(stage: Stage) -> None:
    """From now on every byte is too much, and no script is cached."""
    stage.client.script_flush()
    stage.client.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        stage.client.set(f"{stage.prefix}.more", "x")


@pytest.mark.parametrize("due_in_ms", [0, 60_000])
@pytest.mark.parametrize("receipt", [None, "new"])
def test_publish_is_refused_with_nothing_half_written(stage: Stage, due_in_ms: int, receipt: str | None) -> None:
    """No message, no receipt, no bell, no count."""
    before = {key: stage.client.dump(key) for key in stage.client.scan_iter(f"{stage.prefix}*", count=10_000)}
    fill(stage)
    with pytest.raises(OutOfMemoryError):
        stage.publish("new", due_ms=due_in_ms and stage.now_ms() + due_in_ms, receipt=receipt)
    assert {key: stage.client.dump(key) for key in stage.client.scan_iter(f"{stage.prefix}*", count=10_000)} == before


def test_a_retry_that_carries_a_receipt_on_is_refused_whole_too(stage: Stage) -> None:
    """The receipt stays with the message that there is."""
    fill(stage)
    with pytest.raises(OutOfMemoryError):
        stage.run(stage.scope.publish(stage.list_key(), stage.list_key(), stage.raw("a2", "r-a")))
    assert stage.client.hget(stage.keys.delivery(long("r-a")), "message") == long("a").encode()
    assert stage.ledger().counters["published"] == 5


def test_begin_and_ack_work(stage: Stage) -> None:
    """A worker that is done is done."""
    fill(stage)
    stage.begin("w", "b")
    assert stage.ack("w", "a") == 1
    assert stage.state() == State(
        queued={"q": ["d"]}, scheduled=["s"], inflight={"w": ["b", "c"]}, started={"w": ["b"]}, leases={"v", "w"},
        rung={"q"},
    )  # fmt: skip
    assert [stage.receipt(f"r-{name}")[0] for name in "ab"] == ["acked", "started"]


@pytest.mark.parametrize("due_in_ms", [0, 60_000])
def test_release_works(stage: Stage, due_in_ms: int) -> None:
    """Now or when due."""
    fill(stage)
    assert stage.release("w", "a", "b", "c", due_ms=due_in_ms and stage.now_ms() + due_in_ms) == 3
    state = stage.state()
    assert (state.queued["q"], state.scheduled) == (
        (["d"], ["s", "a", "b", "c"]) if due_in_ms else (list("abcd"), ["s"])
    )


def test_renewing_and_joining_work(stage: Stage) -> None:
    """Or all would be declared dead."""
    fill(stage)
    assert stage.run(calls.renew(stage.keys, "w", 60_000, join=False, about="x" * 1000)) == 1
    assert stage.run(calls.renew(stage.keys, "late", 60_000, join=True, about="{}")) == 1
    assert stage.state().leases == {"v", "w", "late"}


def test_take_works_also_for_what_has_come_due(stage: Stage) -> None:
    """Working off is what makes room."""
    stage.come_due("s")
    fill(stage)
    assert len(stage.take("v").messages) == 2
    assert stage.state().inflight == {"v": ["s", "d"], "w": ["a", "b", "c"]}


def test_recover_works_batch_by_batch(stage: Stage) -> None:
    """The charged one goes to the schedule, the others to the queue; both cost memory."""
    stage.client.hset(stage.keys.crashes, long("a"), 1)
    stage.expire("w")
    fill(stage)
    while stage.recover("v", limit=1).more:
        pass
    state = stage.state()
    assert (sorted(state.queued["q"]), sorted(state.scheduled)) == (["b", "c", "d"], ["a", "s"])
    assert (state.leases, state.dead, state.inflight, state.crashes) == ({"v"}, set(), {}, {"a": 2})


def test_a_sweep_buries_what_crashed_too_often(stage: Stage) -> None:
    """The dead letter is written before the message is dropped."""
    stage.client.hset(stage.keys.crashes, long("a"), 2)
    stage.expire("w")
    fill(stage)
    assert [one.raw for one in stage.recover("v").buried] == [stage.raw("a", "r-a")]
    assert stage.state().buried == [("a", "crashed")]


def test_crash_works(stage: Stage) -> None:
    """Given back, then held back, then buried."""
    fill(stage)
    assert stage.crash("w", "a") == 0
    assert stage.crash("w", "b", max_crashes=1) == 1
    state = stage.state()
    assert (state.queued["q"], state.buried, state.crashes) == (["a", "d"], [("b", "crashed")], {"a": 1})


def test_bury_works(stage: Stage) -> None:
    """A dead letter is larger than its message."""
    fill(stage)
    assert stage.bury("w", "a") == 1
    assert stage.state().buried == [("a", "failed")]


def test_bury_works_for_what_was_acked_before_it_failed(stage: Stage) -> None:
    """Nothing is in flight any more that could be removed first."""
    seq = stage.seqs("w")["a"]
    stage.ack("w", "a")
    fill(stage)
    call = stage.by("w").bury("w", seq, Death("failed"), list_key=stage.list_key(), raw=stage.raw("a", "r-a"))
    assert stage.run(call) == 1
    assert stage.state().buried == [("a", "failed")]


def test_leaving_works(stage: Stage) -> None:
    """What is left behind is recovered."""
    fill(stage)
    assert stage.run(calls.leave(stage.keys, "w")) == 3
    assert stage.run(calls.leave(stage.keys, "v")) == 0
    assert stage.state().dead == {"w"}


def test_a_consumer_may_say_from_which_queues_it_takes(stage: Stage) -> None:
    """A worker starts on a full Redis as well."""
    fill(stage)
    assert stage.run(broadcasting.consume(stage.keys, "v", ["a", "b"])) == 1
    assert stage.client.smembers(stage.keys.consuming("v")) == {b"a", b"b"}


@pytest.mark.parametrize("all_or_none", [True, False])
def test_a_broadcast_is_refused_whole(stage: Stage, all_or_none: bool) -> None:
    """No recipient gets anything, whatever the strategy."""
    stage.run(broadcasting.consume(stage.keys, "v", ["x", "y"]))
    before = {key: stage.client.dump(key) for key in stage.client.scan_iter(f"{stage.prefix}*", count=10_000)}
    fill(stage)
    listed = [
        broadcasting.Addressed(f"{stage.prefix}.{one}", one, stage.raw(one, f"r-{one}"), all_or_none) for one in "xy"
    ]
    call = broadcasting.broadcast(stage.scope, listed, due_ms=0, task="t", guarantee="g", all_or_none=all_or_none)
    with pytest.raises(OutOfMemoryError):
        stage.run(call)
    assert {key: stage.client.dump(key) for key in stage.client.scan_iter(f"{stage.prefix}*", count=10_000)} == before


def test_a_late_ack_works(stage: Stage) -> None:
    """It removes one and adds a line to a receipt."""
    stage.expire("w")
    stage.recover("v")
    fill(stage)
    assert stage.run(stage.by("w").ack_late(stage.list_key(), stage.raw("a", "r-a"))) == 1
    assert stage.state().queued == {"q": ["b", "c", "d"]}


def test_replay_and_discard_work(stage: Stage) -> None:
    """An operator can make room, or have it worked off."""
    for name in "ab":
        stage.bury("w", name)
    first, second = (entry_id.decode() for entry_id, _ in stage.client.xrange(stage.keys.dlq))
    fill(stage)
    assert stage.run(stage.scope.replay([(first, "", stage.list_key(), stage.raw("a2", "r-a"))])) == 1
    assert stage.run(calls.discard(stage.keys, [(second, "")])) == 1
    state = stage.state()
    assert (state.queued, state.buried) == ({"q": ["d", "a2"]}, [])


def test_the_keeper_goes_on_where_that_makes_room(stage: Stage) -> None:
    """It takes its turn, claims what is due, retries and trims; only planning waits for room, and is refused whole."""
    for name in "abc":
        stage.bury("w", name)
    first, second, third = (entry_id.decode() for entry_id, _ in stage.client.xrange(stage.keys.dlq))
    assert stage.run(keeping.plan(stage.keys, "", first, [(first, stage.list_key(), 0)])) == 1
    fill(stage)
    turn = keeping.Turn.parse(stage.run(keeping.keep(stage.keys, "k", 60_000)))
    assert (turn.is_mine, turn.letters, turn.oldest, turn.newest) == (True, 3, first, third)
    assert (turn.planned, turn.due) == (first, 1)
    ((claimed, _),) = stage.run(keeping.claim(stage.keys, 10, 60_000))
    assert claimed.decode() == first
    with pytest.raises(OutOfMemoryError):
        stage.run(keeping.plan(stage.keys, first, second, [(second, stage.list_key(), 0)]))
    assert stage.client.get(stage.keys.dlq_planned) == first.encode()
    assert stage.run(stage.scope.replay([(first, "", stage.list_key(), stage.raw("a2", "r-a"))])) == 1
    assert stage.run(keeping.trim(stage.keys, most=1, max_age_ms=60_000, limit=10)) == 1
    state = stage.state()
    assert (state.queued, state.buried) == ({"q": ["d", "a2"]}, [("c", "failed")])


def test_a_letter_is_not_imported_by_halves(stage: Stage) -> None:
    """Neither entry nor group nor count."""
    fill(stage)
    call = keeping.readmit(stage.keys, list_key=b"q", reason=b"failed", fingerprint=b"", raw=b"x", fields={})
    with pytest.raises(OutOfMemoryError):
        stage.run(call)
    assert stage.ledger().letters == 0


def test_purge_and_detach_work(stage: Stage) -> None:
    """Likewise."""
    fill(stage)
    assert stage.run(stage.scope.purge(stage.list_key(), 10)) == 1
    assert stage.run(stage.scope.detach(10)) == 1
    assert stage.state().queued == {"q": ["s"]}


def test_what_a_stock_worker_left_can_be_given_back(stage: Stage) -> None:
    """Its index entry goes first."""
    keys = (f"{stage.prefix}:unacked", f"{stage.prefix}:unacked_index", stage.list_key())
    stage.client.hset(keys[0], "tag", "x")
    fill(stage)
    call = calls.restore_stock(stage.keys, b"tag", stage.list_key(), stage.stock_raw("stock"))
    assert stage.run(type(call)(call.script, keys, call.args)) == 1
    assert stage.state().queued == {"q": ["stock", "d"]}


def test_a_group_can_be_kept(stage: Stage) -> None:
    """It is written when its messages are there already."""
    fill(stage)
    assert stage.run(grouping.keep_group(stage.by("w"), "g", b"{}")) == 1
    key = stage.by("w").keys.group("g")
    assert stage.client.get(key) == b"{}"
    assert 0 < stage.client.pttl(key) <= stage.by("w").receipt_ttl_ms


def test_mailboxes_are_taken_from_halted_and_let_go_on(stage: Stage) -> None:
    """Also by one that is to wait for another; what is told them is refused whole."""
    room = Mailroom(stage.client, f"{stage.prefix}.room")
    room.host("v", "w")
    for name in "abc":
        room.tell(name)
    room.take("w")
    room.ack("w", "a")
    fill(stage)
    assert room.run(mailing.found(room.keys, room.agent, 0)) == 0
    with pytest.raises(OutOfMemoryError):
        room.tell("new")
    assert names(room.take("v")) == []
    assert names(room.take("w")) == ["b"]
    assert room.halt(Halt.PAUSED) == 1
    assert room.ack("w", "b") == 1
    assert room.halt(None) == 1
    assert names(room.take("w")) == ["c"]
    (message,) = room.seqs("w").values()
    until_ms = room.now_ms() + 60_000
    assert room.run(room.by("w").release("w", [message], due_ms=until_ms, keeps_place=True)) == 1
    assert room.take("w").next_due_ms == until_ms
    assert room.waiting() == ["c"]
