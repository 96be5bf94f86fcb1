"""The one message of one supervised send from a coroutine: Celery makes it, and then the event loop publishes it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from hardening.core.deployment import client_of, scope_of
from hardening.delivery.afterwards import Later
from hardening.delivery.async_client import forget_pool, lent_by, pool_of, run_async, run_on
from hardening.delivery.attempts import Attempts
from hardening.delivery.draft import Draft

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.delivery.outgoing import Outgoing

__all__ = ["AsyncDraft"]


class AsyncDraft(Draft, Later):
    """Keeps what Celery hands over, and what it says afterwards.

    Args:
        outgoing: the send.

    Attributes:
        attempts: how often, and for how long.
        replicas: how many of them have it.
        first: the receipt that has the idempotency key already, of which this would have been a repeat.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        super().__init__(outgoing.app, outgoing.receipt.id, outgoing.fields)
        terms = outgoing.terms
        self.attempts = Attempts(
            self.app, retries=terms.retries, timeout_s=outgoing.left_s, breaker=outgoing.fallback.breaker
        )
        self.replicas = 0
        self.first = ""
        self._replication = outgoing.replication
        self._said: list[Callable[[], object]] = []
        self._events: list[Callable[[], object]] = []

    def keep_back(self, say: Callable[[], object]) -> None:
        """Keeps what Celery's signals have to say of it."""
        self._said.append(say)

    def on_event(self, body: Any, options: dict[str, Any]) -> None:
        """Keeps what Celery's monitors are to be told of it."""

        def tell() -> None:
            with self.app.producer_pool.acquire(block=True, timeout=self.attempts.timeout_s) as producer:
                producer.publish(body, **options)

        self._events.append(tell)

    async def publish_now(self) -> None:
        """Publishes what was kept; then says what Celery would have.

        Receivers of signals are called here, in the event loop. Events go through kombu, which blocks: in a thread.
        """
        async with AsyncExitStack() as lent:
            attempt = partial(self._attempt, lent)
            reply = await self.attempts.run_async(self.fields["task"], attempt, partial(forget_pool, self.app))
            self.first = reply.decode() if isinstance(reply, bytes) else ""
            if self._replication is not None:
                self.replicas = await self._replication.reached_async(self._connection, wrote=reply == 1)
        for say in self._said:
            say()
        for tell in self._events:
            await asyncio.to_thread(tell)

    async def _attempt(self, lent: AsyncExitStack) -> Any:
        """One attempt. Of what replicas have only its own connection can tell, which is kept for that."""
        pool = await pool_of(self.app)
        publication = self.publication  # where an exchange leads must be looked up, which is kombu's to do
        if publication is None:
            publication = await asyncio.to_thread(lambda: self.resolved(client_of(self.app)))
        call = publication.call(scope_of(self.app))
        if self._replication is None:
            return await run_async(call, pool)
        async with AsyncExitStack() as mine:
            self._connection = await mine.enter_async_context(lent_by(pool))
            reply = await run_on(call, self._connection)
            lent.push_async_exit(mine.pop_all())
            return reply
