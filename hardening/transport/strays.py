"""Messages that are in flight for a process which never saw them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardening.core import telemetry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

    from hardening.core.scripts import Scope

__all__ = ["free_strays"]


def free_strays(client: Redis, scope: Scope, consumer: str, held: Iterable[int]) -> None:
    """Gives back what a consumer has in flight and does not hold.

    A take whose reply was lost in a cut has moved messages that its process never saw. As long as that
    lives, nobody else would touch them. To be called while no take is under way.

    Args:
        client: replies must not be decoded.
        scope: how calls sign themselves.
        consumer: whose.
        held: the seqs it knows of.

    Raises:
        redis.RedisError: Redis could not be asked.
    """
    known = {str(seq).encode() for seq in held}
    strays = [int(seq) for seq in client.hkeys(scope.keys.inflight(consumer)) if seq not in known]
    if strays:
        released = int(scope.release(consumer, strays).run(client))
        telemetry.emit(telemetry.ConsumerReconciled(consumer=consumer, released=released))
