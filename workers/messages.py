"""Where messages are, by their receipts, and what time it is, as Redis has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from redis import Redis

    from hardening.core.keys import Keys

__all__ = ["Look", "look_at"]


class Look(NamedTuple):
    """What was seen.

    Attributes:
        now_s: the time at Redis, in seconds.
        states: state and reason of each receipt: ``("dead", "failed")``; empty: there is none.
    """

    now_s: float
    states: Mapping[str, tuple[str, str]]


def look_at(client: Redis, keys: Keys, receipts: Collection[str]) -> Look:
    """Looks where messages are. One round trip.

    Args:
        client: whose replies are bytes.
        keys: of the deployment.
        receipts: of the messages.

    Raises:
        redis.RedisError: as the client raises it.
    """
    with client.pipeline(transaction=False) as pipeline:
        pipeline.time()
        for receipt in receipts:
            pipeline.hmget(keys.delivery(receipt), "state", "reason")
        (seconds, micros), *found = pipeline.execute()
    states = {receipt: (_text(state), _text(reason)) for receipt, (state, reason) in zip(receipts, found, strict=True)}
    return Look(seconds + micros / 1_000_000, states)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if value else ""
