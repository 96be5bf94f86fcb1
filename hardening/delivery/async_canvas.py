"""Sending chains, groups and chords from a coroutine: Celery makes all of it, and then the event loop publishes it.

What Celery makes without its result backend it makes in the loop: chains and groups of single tasks, and chunks. A
chord's counter must be there before its header, and to write it blocks, for as long as the backend's own retries take;
so what has a chord, or may become one, is made in a thread. That publishes nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.canvas import _chain as chain
from celery.canvas import chunks, group
from redis.exceptions import RedisError

from hardening.core import travel
from hardening.core.errors import BreakerOpen, HardeningError
from hardening.delivery.afterwards import Later
from hardening.delivery.async_client import forget_pool, pool_of, run_async
from hardening.delivery.async_draft import AsyncDraft
from hardening.delivery.attempts import TRANSIENT
from hardening.delivery.canvas import Sending, is_canvas
from hardening.delivery.group_receipt import GroupReceipt
from hardening.delivery.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.delivery.outgoing import Outgoing

__all__ = ["AsyncSending", "is_simple"]


def is_simple(canvas: Any) -> bool:
    """Whether Celery makes it without asking its result backend, as far as can be told beforehand."""
    if isinstance(canvas, chain):
        return not any(map(is_canvas, canvas.tasks))
    if isinstance(canvas, group):
        return all(not is_canvas(one) or (isinstance(one, chain) and is_simple(one)) for one in canvas.tasks)
    return isinstance(canvas, chunks)


class AsyncSending(Sending, Later):
    """One canvas on its way; the producer of its messages, which it keeps until Celery has made them all.

    Does not guarantee: that ``before_task_publish`` comes right before its publication: that of all messages comes
    before that of the first.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._drafts: list[tuple[Outgoing, AsyncDraft]] = []

    def publish(self, body: Any, **options: Any) -> None:
        """Keeps a message, or an event that tells of the one before."""
        if "task" in options["headers"]:
            outgoing = self.outgoing(body, options["headers"])
            self._drafts.append((outgoing, AsyncDraft(outgoing)))
        self._drafts[-1][1].publish(body, **options)

    def keep_back(self, say: Callable[[], object]) -> None:
        """Keeps what Celery's signals have to say of it."""
        self._drafts[-1][1].keep_back(say)

    async def send_async(self, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> Receipt:
        """Sends all of it, one message after the other.

        Raises:
            SendManyFailed: some of several messages were not sent.
        """
        make = partial(self._made, args, kwargs, options)
        sent = make() if is_simple(self._canvas) else await asyncio.to_thread(travel.carry(make))
        try:
            for outgoing, draft in self._drafts:
                await self._publish(outgoing, draft)
        except (HardeningError, RedisError, *TRANSIENT) as error:
            self.failed(error)
            sent = None
        receipt = self.receipt(sent)
        await self._keep(receipt)
        receipt = self.replicated(receipt) if self.members else receipt
        await self.terms.await_worker_async(receipt, self.left_s)
        return receipt

    def _made(self, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> Any:
        """Has Celery make it, and lets go of its results where they were made: each thread has a backend of its own."""
        with self.in_place():
            sent = self.send(args, kwargs, options)
        self.let_go(sent)
        return sent

    @property
    def _tasks(self) -> list[str]:
        return [outgoing.fields["task_id"] for outgoing, _ in self._drafts]

    async def _publish(self, outgoing: Outgoing, draft: AsyncDraft) -> None:
        try:
            await draft.publish_now()
        except (RedisError, BreakerOpen, *TRANSIENT) as error:
            kept = await asyncio.to_thread(outgoing.keep, draft, draft.attempts, error)
            receipt = kept or outgoing.failed(draft.attempts, error)
        else:
            receipt = Receipt(draft.first, self.app) if draft.first else outgoing.receipt
        self.note(outgoing, receipt, draft.replicas)

    async def _keep(self, receipt: Receipt) -> None:
        if not isinstance(receipt, GroupReceipt) or not self.members:
            return
        call = receipt.record.keep(self.app, receipt.id)

        async def write() -> None:
            await run_async(call, await pool_of(self.app))

        with suppress(RedisError, BreakerOpen, *TRANSIENT):
            await self.attempts().run_async(self._name, write, partial(forget_pool, self.app))
