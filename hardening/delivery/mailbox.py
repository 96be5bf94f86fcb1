"""Sending to the mailbox of an agent, which has a bound.

The script that publishes looks at the bound, so that no two senders take the last place. What there is no room for is
refused, waits in its sender, or something is dropped for it, as the mailbox says; what is dropped is buried, with the
reason ``mailbox_full``, and counted.

Guarantees: a mailbox never takes a message beyond its bound from here. A message that was refused is nowhere; one that
was dropped is a dead letter.

Does not guarantee: that the bound holds for what comes another way. While Redis is away a message is spooled, and
published whatever room there is when Redis is back; so are broadcasts, replays, what was held until it was due, and
what stock Celery sends.

Events: ``hardening.mailbox.filled``, ``hardening.message.buried``.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from dlq.entry import Entry
from dlq.reason import Reason
from hardening.core import raw as raw_message
from hardening.core import telemetry, travel
from hardening.core.agent_keys import mailbox_queue
from hardening.core.deployment import client_of, scope_of
from hardening.core.errors import MailboxFull
from hardening.core.keys import queue_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.mailing import Bound, Told, tell
from hardening.delivery.attempts import TRANSIENT, Attempts
from hardening.delivery.idempotency import once_of
from hardening.delivery.mailbox_events import MailboxFilled
from hardening.delivery.options import arranged
from hardening.delivery.outgoing import Outgoing
from hardening.delivery.producer import ReceiptProducer
from hardening.delivery.send import Confirm, OnError, send_by
from hardening.delivery.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from celery import Celery
    from redis import Redis

    from hardening.delivery.outgoing import AnyTask
    from hardening.delivery.receipt import Receipt

__all__ = ["atell_mailbox", "tell_mailbox", "tell_of"]

logger = logging.getLogger("hardening.delivery")

#: How long to wait for room before looking again, in seconds: what made room may not tell.
_LOOK_S = 1.0


def tell_mailbox(  # noqa: PLR0913 - as many as for supervised_send, with the bound
    task: AnyTask,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    agent: str,
    bound: Bound = Bound(10_000),  # noqa: B008 - it does not change
    block_s: float = 5.0,
    confirm: Confirm = "queued",
    timeout: float = 5.0,
    retries: int = 3,
    on_error: OnError = "dead_letter",
    idempotency_key: str | None = None,
    idempotency_window: float | timedelta | None = None,
    delay: float | timedelta | None = None,
    metadata: Mapping[str, Any] | None = None,
    app: Celery | None = None,
    **publish_options: Any,
) -> Receipt:
    """Sends a task to the mailbox of an agent, if there is room, and returns a receipt.

    Args:
        task: one task, as for :func:`~hardening.delivery.supervised_send`; no canvas.
        args: positional arguments.
        kwargs: keyword arguments.
        agent: whose mailbox.
        bound: of a mailbox that is not there yet; one that is there has its own.
        block_s: how long to wait for room, in seconds, where the mailbox blocks; never longer than ``timeout``.
        confirm: as for ``supervised_send``.
        timeout: for all of it together, in seconds.
        retries: as for ``supervised_send``.
        on_error: as for ``supervised_send``.
        idempotency_key: as for ``supervised_send``.
        idempotency_window: as for ``supervised_send``.
        delay: as for ``supervised_send``; what is not due yet does not count.
        metadata: as for ``supervised_send``.
        app: as for ``supervised_send``.
        **publish_options: as for ``supervised_send``; the queue is the mailbox.

    Returns:
        The receipt. Where the mailbox drops the newest message, this one may be ``dead`` at once.

    Raises:
        MailboxFull: it refuses what it has no room for, with ``on_error`` ``raise`` or ``dead_letter``: a message
            that nobody has room for now is its sender's to keep.
        PublishFailed: and whatever else ``supervised_send`` raises.
    """
    options = arranged(publish_options, delay=delay, metadata=metadata)
    options["queue"] = mailbox_queue(agent)
    outgoing = Outgoing(
        task, Terms(confirm, timeout, retries, on_error), app=app, options=options,
        once=(idempotency_key, idempotency_window),
    )  # fmt: skip
    attempts = Attempts(outgoing.app, retries=retries, timeout_s=timeout, breaker=outgoing.fallback.breaker)
    producer = _MailboxProducer(outgoing, attempts, agent=agent, bound=bound, block_s=block_s)
    try:
        return send_by(producer, outgoing, args, kwargs)
    except MailboxFull as full:
        if on_error in ("raise", "dead_letter"):
            raise
        if on_error == "log":
            logger.error("%s", full)  # noqa: TRY400 - the traceback says nothing more
        return outgoing.receipt


async def atell_mailbox(task: AnyTask, *args: Any, **options: Any) -> Receipt:
    """The same from a coroutine, in a thread: args, returns and raises as for :func:`tell_mailbox`."""
    return await asyncio.to_thread(travel.carry(partial(tell_mailbox, task, *args, **options)))


class _MailboxProducer(ReceiptProducer):
    """Publishes the one message to a mailbox, and waits for room, if that is how it is."""

    def __init__(self, outgoing: Outgoing, attempts: Attempts, *, agent: str, bound: Bound, block_s: float) -> None:
        super().__init__(outgoing.app, outgoing.receipt.id, outgoing.fields, attempts, outgoing.replication)
        self._agent = agent
        self._bound = bound
        self._since_s = boot_clock_s()
        self._until_s = min(self._since_s + block_s, outgoing.until_s)

    def on_message(self) -> None:
        """Publishes it.

        Raises:
            MailboxFull: there is no room.
        """
        told: Told = self.attempts.run(self.fields["task"], self._publish)
        waited_s = 0.0
        while told.is_full:
            left_s = self._until_s - boot_clock_s()
            if not told.may_wait or left_s <= 0:
                raise MailboxFull(self.receipt, self._agent, told.bound, waited_s)
            self._await_room(left_s)
            waited_s = boot_clock_s() - self._since_s
            told = self.attempts.run(self.fields["task"], self._publish)
        self.first = told.first
        tell_of(self._agent, told)

    def _publish(self, client: Redis) -> Told:
        to = self.resolved(client)
        call = tell(
            scope_of(self.app), to.list_key, to.queue, to.raw, self._bound, due_ms=to.due_ms, receipt=to.fields,
            once=once_of(to.fields),
        )  # fmt: skip
        if self._replication is None:
            return Told.parse(call.run(client))
        reply, self.replicas = self._replication.run(call, client, lambda reply: reply[0] == 1)
        return Told.parse(reply)

    def _await_room(self, left_s: float) -> None:
        """Until a take tells of room, or for a moment; where Redis is away, the next attempt finds out."""
        room = scope_of(self.app).keys.mailbox_room(mailbox_queue(self._agent))
        with suppress(*TRANSIENT):
            client_of(self.app).blpop([room], timeout=max(0.01, min(left_s, _LOOK_S)))


def tell_of(agent: str, told: Told) -> None:
    """Tells of what had no room in a mailbox, and of one that fills."""
    for one in told.buried:
        telemetry.emit(
            telemetry.MessageBuried(
                message=raw_message.message_id(one.raw), task=Entry(one.entry, {b"raw": one.raw}).task,
                queue=queue_of(one.list_key), reason=Reason.MAILBOX_FULL, entry=one.entry, raw=one.raw,
            )
        )  # fmt: skip
    if told.is_news:
        telemetry.emit(MailboxFilled(agent=agent, waiting=told.waiting, bound=told.bound))
