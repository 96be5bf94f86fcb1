"""Following receipts in an event loop, over its own connections: the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hardening.core.deployment import settings_of
from hardening.core.scripts.calls import watch
from hardening.delivery.async_client import lent_by, pool_of, round_trip, run_async, send_all
from hardening.delivery.attempts import TRANSIENT
from hardening.delivery.follower import PAUSE_S, block_ms, read, spooled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery

__all__ = ["AsyncFollower", "states_of"]


class AsyncFollower:
    """Follows one receipt as :class:`~hardening.delivery.follower.Follower` does.

    Args:
        app: over whose broker the message travels.
        receipt: the id of the receipt.
    """

    def __init__(self, app: Celery, receipt: str) -> None:
        self._app = app
        self._receipt = receipt

    async def fields(self) -> dict[str, str]:
        """What the spool of this host says; if that is nothing, what Redis does: what leaves the one is in the other.

        A disk is read, in a thread.

        Raises:
            SpoolError: the spool cannot be read.
            redis.RedisError: Redis is away, and the spool knows nothing of it.
        """
        return await asyncio.to_thread(spooled, self._app, self._receipt) or (await self.watch(0.0))[0]

    async def watch(self, left_s: float) -> tuple[dict[str, str], str]:
        """What the receipt says, and the id of the last change that was told of; see ``Follower.watch``.

        Raises:
            redis.RedisError: Redis is away, and there is no time left.
        """
        settings = settings_of(self._app)
        call = watch(settings.keys, self._receipt, round(settings.socket_timeout_s * 1000))
        try:
            async with asyncio.timeout(max(left_s, PAUSE_S)):
                return read(await run_async(call, await pool_of(self._app)))
        except TRANSIENT as error:
            if left_s <= PAUSE_S:
                raise RedisTimeoutError(f"Redis did not answer in time: {error!r}") from error
            await asyncio.sleep(PAUSE_S)
            return {}, ""

    async def await_change(self, last: str, left_s: float) -> None:
        """Blocks on the server until there is a change after ``last``, for less than the socket's timeout."""
        if not last:
            return
        settings = settings_of(self._app)
        key = settings.keys.changes(self._receipt)
        wait_ms = block_ms(left_s, settings.socket_timeout_s)
        with suppress(*TRANSIENT):  # the next look will tell; so it will when too many listen already
            async with lent_by(await pool_of(self._app, listens=True)) as connection:
                await round_trip(connection, ("XREAD", "BLOCK", wait_ms, "STREAMS", key, last))


async def states_of(app: Celery, receipts: Sequence[str]) -> list[bytes | None]:
    """The state of each receipt, in one round trip; None: Redis does not know it.

    Raises:
        redis.RedisError: Redis is away, or refuses.
    """
    keys = settings_of(app).keys
    asked: Any = [("HGET", keys.delivery(receipt), "state") for receipt in receipts]
    told: list[Any] = []
    refused: RedisError | None = None
    async with lent_by(await pool_of(app)) as connection:
        await send_all(connection, asked)
        for _ in receipts:  # all of them, also after a refusal: the next to use the connection would read the rest
            try:
                told.append(await connection.read_response())
            except ResponseError as error:
                refused = refused or error
    if refused is not None:
        raise refused
    return told
