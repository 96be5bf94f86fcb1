"""Which agents are able to do something now, where messages are, and what time it is, as Redis has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardening.agents.presence import absence_of
from workers.messages import look_at

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
        messages: as :attr:`workers.messages.Look.states`; empty: that is not known.
    """

    now_s: float
    unable: Mapping[str, str]
    messages: Mapping[str, tuple[str, str]]


def take_census(client: Redis, keys: Keys, agents: Collection[str], receipts: Collection[str] = ()) -> Census:
    """Looks how agents are, and messages. Two round trips; one more, where there are messages.

    Args:
        client: whose replies are bytes.
        keys: of the deployment.
        agents: their names.
        receipts: of the messages.

    Raises:
        redis.RedisError: as the client raises it.
    """
    messages = look_at(client, keys, receipts).states if receipts else {}
    now_s, unable = absence_of(client, keys, agents)
    return Census(now_s, unable, messages)
