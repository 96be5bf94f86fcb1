"""bury, replay, discard and purge: the dead-letter queue's side of the ledger."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hardening.core.scripts import Death
from hardening.core.scripts.calls import discard
from tests.integration.stage import State, long

if TYPE_CHECKING:
    from tests.integration.stage import Stage


def held(stage: Stage, *names: str) -> None:
    """Consumer ``w`` holds messages with receipts."""
    stage.join("w")
    for name in names:
        stage.publish(name, receipt=f"r-{name}")
    stage.take("w")


def entry_ids(stage: Stage) -> list[str]:
    """The dead letters' ids, oldest first."""
    return [entry_id.decode() for entry_id, _ in stage.client.xrange(stage.keys.dlq)]


def test_a_buried_message_is_kept_whole_with_the_reason(stage: Stage) -> None:
    """Everything that is known goes with it."""
    held(stage, "a", "b")
    stage.begin("w", "a")
    stage.client.hset(stage.keys.crashes, long("a"), 2)
    assert stage.bury("w", "a", "timeout") == 1
    assert stage.state() == State(inflight={"w": ["b"]}, buried=[("a", "timeout")], leases={"w"})
    assert stage.ledger().counters == {"published": 2, "dead": 1}
    assert stage.receipt("r-a") == ("dead", "w", "timeout")
    ((_, entry),) = stage.client.xrange(stage.keys.dlq)
    assert entry == {
        b"raw": stage.raw("a", "r-a"), b"list": stage.list_key().encode(), b"message": long("a").encode(),
        b"receipt": long("r-a").encode(), b"reason": b"timeout", b"error": b"a failed",
        b"traceback": b"Traceback ...", b"worker": b"w", b"crashes": b"2", b"task": b"t", b"fingerprint": b"",
        b"once": b"0", b"group": stage.client.hkeys(stage.keys.dlq_groups)[0],
    }  # fmt: skip


def test_what_is_not_held_is_not_buried(stage: Stage) -> None:
    """It was taken away: whoever has it decides."""
    held(stage, "a")
    seq = stage.seqs("w")["a"]
    assert stage.bury("w", "a") == 1
    before = stage.state()
    assert stage.run(stage.scope.bury("w", seq, Death("failed"))) == 0
    assert stage.run(stage.scope.bury("nobody", seq, Death("failed"))) == 0
    assert stage.state() == before


def test_what_was_acked_before_it_failed_can_still_be_buried(stage: Stage) -> None:
    """A task that opted out of late acknowledgement: the ack is taken back in the ledger."""
    held(stage, "a")
    seq = stage.seqs("w")["a"]
    stage.ack("w", "a")
    call = stage.by("w").bury("w", seq, Death("failed"), list_key=stage.list_key(), raw=stage.raw("a", "r-a"))
    assert stage.run(call) == 1
    assert stage.state() == State(buried=[("a", "failed")], leases={"w"})
    assert stage.ledger().counters == {"published": 1, "acked": 0, "dead": 1}
    assert stage.receipt("r-a") == ("dead", "w", "failed")


def test_a_replay_returns_the_message_to_its_queue(stage: Stage) -> None:
    """As a new message, at the publishing end; its receipt goes along."""
    held(stage, "a", "b")
    stage.bury("w", "a")
    stage.publish("waiting")
    (entry_id,) = entry_ids(stage)
    again = stage.raw("a2", "r-a")
    assert stage.run(stage.by("operator").replay([(entry_id, "", stage.list_key(), again)])) == 1
    assert stage.state() == State(
        queued={"q": ["waiting", "a2"]}, inflight={"w": ["b"]}, leases={"w"}, rung={"q"}
    )  # fmt: skip
    assert stage.ledger().counters == {"published": 3, "dead": 1, "replayed": 1}
    assert stage.receipt("r-a") == ("queued", "operator", "")
    assert stage.history("r-a") == ["queued", "claimed", "dead", "queued"]


def test_a_replay_rings_and_enters_the_queue_in_the_ledger(stage: Stage) -> None:
    """Also when nobody has ever published there by this ledger."""
    stage.join("w")
    stage.client.lpush(stage.list_key("new", 3), stage.stock_raw("s"))
    stage.take("w", 1, stage.list_key("new", 3))
    stage.bury("w", "s")
    (entry_id,) = entry_ids(stage)
    assert stage.run(stage.scope.replay([(entry_id, "", stage.list_key("new", 3), stage.raw("s2"))])) == 1
    assert stage.state() == State(queued={"new:3": ["s2"]}, leases={"w"}, rung={"new"})


def test_a_stock_message_replayed_as_it_is_leaves_the_ledger(stage: Stage) -> None:
    """What cannot be read cannot be marked either."""
    stage.join("w")
    stage.publish_stock("s")
    stage.take("w")
    stage.bury("w", "s", "undecodable")
    (entry_id,) = entry_ids(stage)
    assert stage.run(stage.scope.replay([(entry_id, "", stage.list_key(), stage.stock_raw("s"))])) == 1
    assert stage.state() == State(queued={"q": ["s"]}, leases={"w"}, rung={"q"}, stock={"s"})
    stage.take("w")
    stage.ack("w", "s")
    assert stage.state() == State(leases={"w"})


def test_operators_who_replay_at_once_make_one_message_of_each(stage: Stage) -> None:
    """Whose call removes the entry, publishes the message."""
    names = [f"m{number:02}" for number in range(40)]
    held(stage, *names)
    for name in names:
        stage.bury("w", name)
    ids = entry_ids(stage)
    replayed: list[int] = []
    barrier = threading.Barrier(4)

    def operate(operator: int) -> None:
        pairs = list(zip(ids, names, strict=True))
        barrier.wait()
        for entry_id, name in pairs:
            raw = stage.raw(f"{name}-{operator}")
            replayed.append(stage.run(stage.scope.replay([(entry_id, "", stage.list_key(), raw)])))

    threads = [threading.Thread(target=operate, args=(operator,)) for operator in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(replayed) == len(names)
    assert sorted(name.partition("-")[0] for name in stage.state().everywhere()) == names


def test_discarded_letters_are_gone_and_remembered_as_dead(stage: Stage) -> None:
    """They died; that they were thrown away later is a statistic."""
    held(stage, "a", "b", "c")
    for name in "abc":
        stage.bury("w", name)
    ids = entry_ids(stage)
    assert stage.run(discard(stage.keys, [(ids[0], ""), (ids[2], "unknown"), ("1-1", "")])) == 2
    assert stage.run(discard(stage.keys, [(ids[0], "")])) == 0
    assert stage.state() == State(buried=[("b", "failed")], leases={"w"})
    assert stage.ledger().counters == {"published": 3, "dead": 3, "discarded": 2}


def test_a_purge_empties_a_list_from_the_publishing_end(stage: Stage) -> None:
    """Batch by batch; receipts hear of it, other lists do not."""
    for name in "abc":
        stage.publish(name, receipt=f"r-{name}")
    stage.publish("other", step=3)
    assert stage.run(stage.by("operator").purge(stage.list_key(), 2)) == 2
    assert stage.state() == State(queued={"q": ["a"], "q:3": ["other"]}, rung={"q"})
    assert [stage.run(stage.scope.purge(stage.list_key(), 2)) for _ in range(2)] == [1, 0]
    assert stage.state() == State(queued={"q:3": ["other"]}, rung={"q"})
    assert stage.ledger().counters == {"published": 4, "purged": 3}
    assert stage.receipt("r-c") == ("dead", "operator", "purged")


def test_purged_stock_messages_were_never_in_the_ledger(stage: Stage) -> None:
    """So they are not purged from it."""
    stage.publish("ours")
    stage.publish_stock("s1", "s2")
    assert stage.run(stage.scope.purge(stage.list_key(), 10)) == 3
    assert stage.state() == State(rung={"q"})
    assert stage.ledger().counters == {"published": 1, "purged": 1}
