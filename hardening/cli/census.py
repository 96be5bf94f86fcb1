"""Who is alive and where the messages are, read from Redis."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardening.core.keys import PRIORITY_STEPS, list_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

    from hardening.core.keys import Keys

__all__ = ["Census", "Consumer", "Queue", "take_census"]


@dataclass(frozen=True, slots=True)
class Consumer:
    """One consumer.

    Attributes:
        name: what its lease is under.
        host: where it runs, as it says; empty when it does not.
        pid: its process, likewise.
        lease_ms: for how long its lease still lasts; 0 or less: it ran out, and the consumer is dead.
        inflight: how many messages it has taken and not settled.
        begun: how many of them it has begun.
    """

    name: str
    host: str
    pid: str
    lease_ms: int
    inflight: int
    begun: int

    @property
    def is_alive(self) -> bool:
        """Whether its lease holds."""
        return self.lease_ms > 0


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue, with how many messages wait at each of :data:`~hardening.core.keys.PRIORITY_STEPS`."""

    name: str
    waiting: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Census:
    """The state of one deployment.

    Attributes:
        consumers: the living first, by name.
        queues: by name.
        scheduled: how many messages wait for their time.
        next_due_ms: in how long the first of them is due; negative: it is overdue; None: there is none.
        dead_letters: how many there are.
        counters: the ledger, and statistics.
        uptime_s: for how long Redis has been up, in whole seconds.
    """

    consumers: tuple[Consumer, ...]
    queues: tuple[Queue, ...]
    scheduled: int
    next_due_ms: int | None
    dead_letters: int
    counters: dict[str, int]
    uptime_s: int

    @property
    def alive(self) -> tuple[Consumer, ...]:
        """Consumers whose lease holds."""
        return tuple(consumer for consumer in self.consumers if consumer.is_alive)

    @property
    def dead(self) -> tuple[Consumer, ...]:
        """Consumers whose lease ran out and whose messages have not all been moved back."""
        return tuple(consumer for consumer in self.consumers if not consumer.is_alive)


def take_census(client: Redis, keys: Keys, queues: Iterable[str] = ()) -> Census:
    """Looks at everything, twice: at who and what there is, then at how much each of them holds.

    Does not guarantee: that both looks see the same instant; for that there is
    :func:`hardening.core.ledger.read_ledger`.

    Args:
        client: replies must not be decoded.
        keys: the deployment's keys.
        queues: names of queues to show besides those that the ledger covers.

    Raises:
        redis.RedisError: Redis could not be asked.
    """
    first: Any = client.pipeline(transaction=True)
    first.time().zrange(keys.leases, 0, -1, withscores=True).zrange(keys.dead, 0, -1).hgetall(keys.members)
    first.smembers(keys.queues).zcard(keys.scheduled).zrange(keys.scheduled, 0, 0, withscores=True)
    first.xlen(keys.dlq).hgetall(keys.counters).info("server")
    (seconds, micros), leases, dead, members, covered, scheduled, soonest, letters, counters, server = first.execute()
    now_ms = seconds * 1000 + micros // 1000
    left_ms = {_text(name): int(expiry_ms) - now_ms for name, expiry_ms in leases}
    left_ms |= {_text(name): 0 for name in dead}
    about = {_text(name): _about(said) for name, said in members.items()}
    names = sorted({_text(name) for name in covered} | set(queues))
    held, waiting = _second_look(client, keys, list(left_ms), names)
    consumers = [
        Consumer(name, *about.get(name, ("", "")), left_ms[name], *counts)
        for name, counts in zip(left_ms, held, strict=True)
    ]
    return Census(
        consumers=tuple(sorted(consumers, key=lambda consumer: (not consumer.is_alive, consumer.name))),
        queues=tuple(Queue(name, counts) for name, counts in zip(names, waiting, strict=True)),
        scheduled=scheduled,
        next_due_ms=int(soonest[0][1]) - now_ms if soonest else None,
        dead_letters=letters,
        counters={_text(name): int(value) for name, value in sorted(counters.items())},
        uptime_s=int(server["uptime_in_seconds"]),
    )


def _second_look(
    client: Redis, keys: Keys, consumers: list[str], queues: list[str]
) -> tuple[list[tuple[int, int]], list[tuple[int, ...]]]:
    second: Any = client.pipeline(transaction=False)
    for name in consumers:
        second.hlen(keys.inflight(name)).hlen(keys.started(name))
    for name in queues:
        for step in PRIORITY_STEPS:
            second.llen(list_of(name, step))
    replies = iter(second.execute())
    held = [(next(replies), next(replies)) for _ in consumers]
    return held, [tuple(next(replies) for _ in PRIORITY_STEPS) for _ in queues]


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _about(said: bytes) -> tuple[str, str]:
    try:
        member: Any = json.loads(said)
        return str(member["host"]), str(member["pid"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return "", ""
