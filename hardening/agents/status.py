"""How agents are, as Redis has it: for people who look."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardening.core.agent_keys import mailbox_queue
from hardening.core.keys import PRIORITY_STEPS, list_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

    from hardening.core.keys import Keys

__all__ = ["AgentStatus", "names_in", "state_in", "statuses"]


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """How one agent is.

    Attributes:
        name: of the agent.
        status: ``running`` (a worker that lives holds it), ``idle`` (none does), ``paused``, ``parked``, ``stopped``;
            or ``unknown``: there is no such agent.
        why: why it is parked or stopped.
        holder: the consumer that runs it; empty: none.
        fence: how often it was taken over.
        waiting: how many messages wait in its mailbox.
        bound: how many may.
        version: how often its state was committed.
        schema: of the state; 0: there is none.
        size: of the state, in bytes.
        restarts: how many there were within the supervisor's period, as of the last.
        backs_off_s: for how long it backs off yet, in seconds.
        idle_s: how long ago it committed something, in seconds; None: it never did.
    """

    name: str
    status: str
    why: str
    holder: str
    fence: int
    waiting: int
    bound: int
    version: int
    schema: int
    size: int
    restarts: int
    backs_off_s: float
    idle_s: float | None


def names_in(client: Redis, keys: Keys) -> list[str]:
    """The names of all agents.

    Raises:
        redis.RedisError: as the client raises it.
    """
    found: Any = client.smembers(keys.agents)
    return sorted(name.decode("utf-8", "replace") for name in found)


def statuses(client: Redis, keys: Keys, names: Iterable[str]) -> list[AgentStatus]:
    """How agents are, in one round trip, each as it was at one instant.

    Raises:
        redis.RedisError: as the client raises it.
    """
    wanted = list(names)
    with client.pipeline(transaction=True) as pipeline:
        for name in wanted:
            _ask(pipeline, keys, name)
        pipeline.zrange(keys.leases, 0, -1)
        pipeline.time()
        *replies, leases, (seconds, micros) = pipeline.execute()
    alive, now_ms = {one.decode() for one in leases}, seconds * 1000 + micros // 1000
    size = len(replies) // max(1, len(wanted))
    parts = [replies[at : at + size] for at in range(0, len(replies), max(1, size))]
    return [_read(name, part, alive, now_ms) for name, part in zip(wanted, parts, strict=True)]


def state_in(client: Redis, keys: Keys, name: str) -> dict[str, Any] | None:
    """The state of an agent as it was written whole last; None: there is none.

    Raises:
        redis.RedisError: as the client raises it.
        ValueError: it is no JSON object.
    """
    found: Any = client.hget(keys.agent(name), "state")
    if found is None:
        return None
    state = json.loads(found)
    if not isinstance(state, dict):
        raise ValueError(f"the state of agent {name} is a {type(state).__name__}, expected a JSON object")
    return state


def _ask(pipeline: Any, keys: Keys, name: str) -> None:
    queue = mailbox_queue(name)
    pipeline.hmget(keys.mailbox(queue), "bound", "halt", "why", "holder", "fence", "resume_ms")
    pipeline.hmget(keys.agent(name), "version", "schema", "updated_ms")
    pipeline.hstrlen(keys.agent(name), "state")
    pipeline.zcard(keys.restarts(name))
    for step in PRIORITY_STEPS:
        pipeline.llen(list_of(queue, step))


def _read(name: str, part: list[Any], alive: set[str], now_ms: int) -> AgentStatus:
    box, agent, size, restarts, *lengths = part
    bound, halt, why, holder, fence, resume_ms = (one.decode("utf-8", "replace") if one else "" for one in box)
    version, schema, updated_ms = (int(one or 0) for one in agent)
    status = halt or ("running" if holder in alive else "idle")
    return AgentStatus(
        name=name,
        status=status if bound else "unknown",
        why=why if halt else "",
        holder=holder if holder in alive else "",
        fence=int(fence or 0),
        waiting=sum(lengths),
        bound=int(bound or 0),
        version=version,
        schema=schema,
        size=size,
        restarts=restarts,
        backs_off_s=max(0.0, (float(resume_ms or 0) - now_ms) / 1000),
        idle_s=max(0.0, (now_ms - updated_ms) / 1000) if updated_ms else None,
    )
