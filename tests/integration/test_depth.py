"""What take, publish and ack cost does not grow with what lies in Redis.

Time would say so only on a quiet machine. What Redis itself counts says it anywhere: the same commands, as often, at
any depth, and each of them one whose cost depends on what it moves, or on the logarithm of what it looks through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hardening.core.keys import PRIORITY_STEPS
from hardening.core.scripts import Script, Taken, TakenMessage
from tests.integration.stage import long, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.stage import Stage

#: Messages that a take may bring here.
_LIMIT = 10
_DEEP = 100_000
_LATER_MS = 4_000_000_000_000
#: O(1), as they are called: with one field, one member, or as many as are moved.
_CONSTANT = frozenset({"evalsha", "eval", "time", "exists", "hget", "hset", "hdel", "hexists", "hincrby", "incrby"})
_CONSTANT |= {"lpush", "rpush", "rpop", "sadd", "zscore", "xadd", "pexpire"}
#: O(log n + m) with m bounded by what is asked for: a range by score has a LIMIT, one by rank has its ends.
_LOGARITHMIC = frozenset({"zrangebyscore", "zrange", "zadd", "zrem"})
#: Too cheap to matter, and not called by us.
_OURS = frozenset({"config|resetstat", "config", "info"})


def _work(stage: Stage, act: Callable[[], object]) -> dict[str, int]:
    """How often Redis ran each command, also inside scripts, while something was done."""
    stage.client.config_resetstat()
    act()
    stats: dict[str, Any] = stage.client.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}
    return {name: count for name, count in calls.items() if name not in _OURS}


def _fill(stage: Stage, place: str, depth: int) -> None:
    """Puts messages somewhere at once, as publishing them one by one would."""
    names = [f"deep{number}" for number in range(depth)]
    entry = stage.list_key().encode()
    entries = {long(name): b"%d:%s%s" % (len(entry), entry, stage.raw(name)) for name in names}
    client, keys = stage.client, stage.keys
    for at in range(0, depth, 10_000):
        batch = dict(list(entries.items())[at : at + 10_000])
        if place == "queued":
            client.lpush(stage.list_key(), *[stage.raw(short(identity)) for identity in batch])
        elif place == "in flight":
            client.hset(keys.inflight("w"), mapping={at + seq: held for seq, held in enumerate(batch.values(), 1)})
        elif place == "crashed":
            client.hset(keys.crashes, mapping=dict.fromkeys(batch, 1))
        else:
            due_ms = 1 if place == "due" else _LATER_MS
            client.zadd(keys.scheduled, dict.fromkeys(batch, due_ms))
            client.hset(keys.scheduled_messages, mapping=batch)
    client.set(keys.seq, depth)
    client.sadd(keys.queues, stage.list_key())
    if place != "crashed":
        client.hset(keys.counters, "published", depth)


def _take(stage: Stage) -> list[TakenMessage]:
    lists = [stage.list_key("q", step) for step in PRIORITY_STEPS]
    return Taken.parse(stage.run(stage.by("w").take("w", lists, _LIMIT)), lists).messages


def _do_all(stage: Stage) -> dict[str, dict[str, int]]:
    """Does each thing once. Returns, for each, how often Redis ran each command."""
    by, taken = stage.by("w"), list[TakenMessage]()

    def seqs() -> list[str]:
        return [f"{message.seq}+" for message in taken]

    acts: dict[str, Callable[[], object]] = {
        "publish": lambda: stage.publish("now"),
        "publish with a receipt": lambda: stage.publish("told", receipt="r"),
        "publish later": lambda: stage.publish("later", due_ms=_LATER_MS),
        "take": lambda: taken.extend(_take(stage)),
        "begin": lambda: stage.run(by.ack("w", [], seqs())),
        "ack": lambda: stage.run(by.ack("w", seqs())),
    }
    work = {name: _work(stage, act) for name, act in acts.items()}
    assert len(taken) == _LIMIT
    return work


@pytest.mark.one_server
@pytest.mark.parametrize("place", ["queued", "scheduled", "due", "in flight", "crashed"])
def test_take_publish_and_ack_do_the_same_work_at_any_depth(stage: Stage, place: str) -> None:
    """A queue, a schedule, a backlog of due messages, a consumer, the crash counts: of twenty or a hundred thousand."""
    for script in ("publish", "take", "ack"):
        Script.load(script).cache(stage.client)
    work = []
    for depth in (2 * _LIMIT, _DEEP):
        stage.client.delete(*stage.client.keys(f"{stage.prefix}*") or ["none"])
        stage.join("w")
        _fill(stage, place, depth)
        for number in range(_LIMIT):  # something to take in any case
            stage.publish(f"new{number}")
        before = stage.ledger().counters["published"]
        work.append(_do_all(stage))
        after = stage.ledger().counters
        assert (after["published"], after["acked"]) == (before + 3, _LIMIT)
    shallow, deep = work
    assert deep == shallow
    assert {command for calls in deep.values() for command in calls} <= _CONSTANT | _LOGARITHMIC
