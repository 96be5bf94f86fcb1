"""Which agents are able to do something now, and what time it is, as Redis has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardening.core.agent_keys import mailbox_queue

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from redis import Redis

    from hardening.core.keys import Keys

__all__ = ["Census", "take_census"]


@dataclass(frozen=True, slots=True)
class Census:
    """How agents are.

    Attributes:
        now_s: the time at Redis, in seconds; 0: that is not known.
        unable: why each of the agents that take no messages does not: ``paused``, ``parked``, ``stopped``, or ``gone``:
            no living worker takes from its mailbox.
        messages: where messages are, by their receipts: ``queued``, ..., ``dead failed``; empty: that is not known.
    """

    now_s: float
    unable: Mapping[str, str]
    messages: Mapping[str, str]


def take_census(client: Redis, keys: Keys, agents: Collection[str], receipts: Collection[str] = ()) -> Census:
    """Looks how agents are, and messages. Two round trips.

    Args:
        client: whose replies are bytes.
        keys: of the deployment.
        agents: their names.
        receipts: of the messages.

    Raises:
        redis.RedisError: as the client raises it.
    """
    queues = {name: mailbox_queue(name) for name in agents}
    with client.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.zrange(keys.leases, 0, -1, withscores=True)
        for queue in queues.values():
            pipeline.hget(keys.mailbox(queue), "halt")
        for receipt in receipts:
            pipeline.hmget(keys.delivery(receipt), "state", "reason")
        (seconds, micros), leases, *rest = pipeline.execute()
    now_s = seconds + micros / 1_000_000
    alive = [consumer.decode() for consumer, until_ms in leases if until_ms > now_s * 1000]
    consumed: set[bytes] = set()
    with client.pipeline(transaction=False) as pipeline:
        for consumer in alive:
            pipeline.smembers(keys.consuming(consumer))
        consumed = consumed.union(*pipeline.execute())
    halts = dict(zip(queues, rest, strict=False))
    unable = {
        name: _text(halts[name]) or "gone"
        for name, queue in queues.items()
        if halts[name] or queue.encode() not in consumed
    }
    states = zip(receipts, rest[len(queues) :], strict=True)
    return Census(now_s, unable, {one: " ".join(map(_text, state)).strip() for one, state in states})


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if value else ""
