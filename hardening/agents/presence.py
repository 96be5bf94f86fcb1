"""Which agents take messages now."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hardening.core.agent_keys import mailbox_queue

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from redis import Redis

    from hardening.core.keys import Keys

__all__ = ["GONE", "Absence", "absence_of"]

#: Why an agent takes no messages that nobody has halted: no living worker takes from its mailbox.
GONE = "gone"


class Absence(NamedTuple):
    """Who takes no messages.

    Attributes:
        now_s: the time at Redis, in seconds.
        why: of each agent that takes none: ``paused``, ``parked`` or ``stopped``; or ``gone``.
    """

    now_s: float
    why: Mapping[str, str]


def absence_of(client: Redis, keys: Keys, agents: Collection[str]) -> Absence:
    """Looks which agents take no messages: by their halts, and by what workers with a lease say to take from.

    Two round trips.

    Args:
        client: whose replies are bytes.
        keys: of the deployment.
        agents: their names.

    Raises:
        redis.RedisError: as the client raises it.
    """
    queues = {name: mailbox_queue(name) for name in agents}
    with client.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.zrange(keys.leases, 0, -1, withscores=True)
        for queue in queues.values():
            pipeline.hget(keys.mailbox(queue), "halt")
        (seconds, micros), leases, *halts = pipeline.execute()
    now_s = seconds + micros / 1_000_000
    with client.pipeline(transaction=False) as pipeline:
        for consumer, until_ms in leases:
            if until_ms > now_s * 1000:
                pipeline.smembers(keys.consuming(consumer.decode()))
        taken: set[bytes] = set().union(*pipeline.execute())
    why = {
        name: (halt or GONE.encode()).decode("utf-8", "replace")
        for (name, queue), halt in zip(queues.items(), halts, strict=True)
        if halt or queue.encode() not in taken
    }
    return Absence(now_s, why)
