"""Telling an agent something from a coroutine, over connections of its event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from hiredis import pack_command
from redis.exceptions import RedisError

from hardening.core.agent_keys import mailbox_queue
from hardening.core.deployment import scope_of
from hardening.core.errors import BreakerOpen, MailboxFull
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.mailing import Told, tell
from hardening.delivery.async_client import forget_pool, pool_of, run_async
from hardening.delivery.attempts import TRANSIENT, Attempts
from hardening.delivery.draft import Draft
from hardening.delivery.idempotency import once_of
from hardening.delivery.mailbox import tell_of
from hardening.delivery.options import arranged
from hardening.delivery.outgoing import Outgoing
from hardening.delivery.receipt import Receipt
from hardening.delivery.shortcut import is_watched
from hardening.delivery.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

    from hardening.core.scripts.mailing import Bound

__all__ = ["AsyncTelling", "block_on", "is_simple"]

#: How long to wait for room before looking again, in seconds: what made room may not tell.
_LOOK_S = 1.0
#: What needs more than one round trip, or is answered by somebody else.
_NEEDS_A_THREAD = frozenset({"confirm", "replicas", "on_disk"})


def is_simple(app: Celery, options: Mapping[str, Any]) -> bool:
    """Whether nothing but a round trip to Redis is needed, so that no thread is."""
    simple = _NEEDS_A_THREAD.isdisjoint(options) and options.get("on_error", "dead_letter") in ("raise", "dead_letter")
    return simple and not (is_watched() or app.conf.task_send_sent_event)


class AsyncTelling:
    """One message to one mailbox. What it does is what :func:`~hardening.delivery.mailbox.tell_mailbox` does.

    Args:
        app: who sends.
        agent: whose mailbox.
        bound: of a mailbox that is not there yet.
        block_s: how long to wait for room, in seconds, where the mailbox blocks.
        options: of the send.

    Raises:
        ValueError: something that makes no sense.
        TypeError: there is no such option.
    """

    def __init__(self, app: Celery, agent: str, bound: Bound, block_s: float, options: Mapping[str, Any]) -> None:
        said = {"timeout": 5.0, "retries": 3, "on_error": "dead_letter", **options}
        timeout_s, retries, on_error = said.pop("timeout"), said.pop("retries"), said.pop("on_error")
        once = said.pop("idempotency_key", None), said.pop("idempotency_window", None)
        delay, metadata, task = said.pop("delay", None), said.pop("metadata", None), said.pop("task")
        arranged_ = arranged(said, delay=delay, metadata=metadata)
        terms = Terms("queued", timeout_s, retries, on_error)
        self._agent = agent
        self._bound = bound
        self._outgoing = Outgoing(task, terms, app=app, options=arranged_, once=once)
        self._since_s = boot_clock_s()
        self._until_s = min(self._since_s + block_s, self._outgoing.until_s)
        breaker = self._outgoing.fallback.breaker
        self._attempts = Attempts(app, retries=retries, timeout_s=timeout_s, breaker=breaker)
        self._draft = Draft(app, self._outgoing.receipt.id, self._outgoing.fields)

    async def send(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Receipt:
        """Sends it, or has it spooled.

        Raises:
            MailboxFull: there is no room.
            PublishFailed: nothing safe has it.
        """
        outgoing = self._outgoing
        try:
            outgoing.send(args, kwargs, self._draft)
            told = await self._told()
        except (RedisError, BreakerOpen, *TRANSIENT) as error:
            kept = await asyncio.to_thread(outgoing.keep, self._draft, self._attempts, error)
            return kept or outgoing.failed(self._attempts, error)
        tell_of(self._agent, told)
        return Receipt(told.first, outgoing.app) if told.first else outgoing.receipt

    async def _told(self) -> Told:
        app, waited_s = self._outgoing.app, 0.0
        while True:
            told = await self._attempts.run_async(self._outgoing.name, self._publish, partial(forget_pool, app))
            left_s = self._until_s - boot_clock_s()
            if not told.is_full:
                return told
            if not told.may_wait or left_s <= 0:
                raise MailboxFull(self._outgoing.receipt.id, self._agent, told.bound, waited_s)
            room = scope_of(app).keys.mailbox_room(mailbox_queue(self._agent))
            with suppress(*TRANSIENT):
                await block_on(app, ("BLPOP", room, f"{max(0.01, min(left_s, _LOOK_S)):.3f}"))
            waited_s = boot_clock_s() - self._since_s

    async def _publish(self) -> Told:
        app, to = self._outgoing.app, self._draft.publication
        if to is None:
            raise ValueError("the message was not made")
        call = tell(
            scope_of(app), to.list_key, to.queue, to.raw, self._bound, due_ms=to.due_ms, receipt=to.fields,
            once=once_of(to.fields),
        )  # fmt: skip
        return Told.parse(await run_async(call, await pool_of(app)))


async def block_on(app: Celery, command: tuple[str, ...]) -> Any:
    """Runs a command that blocks on the server, on a connection that no sender waits for; returns the reply."""
    pool = await pool_of(app, for_waiting=True)
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command(pack_command(command), check_health=False)  # type: ignore[arg-type]
        return await connection.read_response()
    finally:
        await asyncio.shield(pool.release(connection))
