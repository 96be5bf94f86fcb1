"""Sending with a receipt, from a coroutine."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from hardening.core import travel
from hardening.core.errors import BreakerOpen
from hardening.delivery.async_canvas import AsyncSending
from hardening.delivery.async_draft import AsyncDraft
from hardening.delivery.attempts import TRANSIENT
from hardening.delivery.canvas import is_canvas
from hardening.delivery.fallback import fallback_of, has_fallback
from hardening.delivery.options import arranged
from hardening.delivery.outgoing import Outgoing, owner_of
from hardening.delivery.receipt import Receipt
from hardening.delivery.send import supervised_send
from hardening.delivery.terms import Confirm, OnError, Terms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from celery import Celery

    from hardening.delivery.outgoing import AnyTask

__all__ = ["asupervised_send"]


async def asupervised_send(  # noqa: PLR0913 - as many as for supervised_send
    task: AnyTask,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    confirm: Confirm = "queued",
    timeout: float = 5.0,  # noqa: ASYNC109 - it is of all attempts and of what follows them
    retries: int = 3,
    on_error: OnError = "dead_letter",
    replicas: int = 1,
    on_disk: bool = False,
    idempotency_key: str | None = None,
    idempotency_window: float | timedelta | None = None,
    delay: float | timedelta | None = None,
    metadata: Mapping[str, Any] | None = None,
    app: Celery | None = None,
    **publish_options: Any,
) -> Receipt:
    """Sends as :func:`~hardening.delivery.send.supervised_send` does, without holding up the event loop.

    All that is waited for, the publication, replicas, workers and the pauses between attempts, is waited for in the
    loop, over connections of its own. What Celery says after a publication (``after_task_publish``, ``task_sent``) it
    says here when that is true. A thread is used for what can only block: the disk of a spool; which of several
    brokers answers, and where an exchange that is not direct leads, both asked once; ``task-sent`` events, which are
    kombu's; a task that runs here, with ``task_always_eager``; and the making of a chord, and of what has a group
    inside a chain or a group, which asks Celery's result backend: ``before_task_publish`` comes there, and all else in
    the loop.

    Cancelled, it may have published or not; nobody waits for the answer any more, and its connection is closed.

    Args, returns and raises as ``supervised_send``; besides ``ConfigError`` where TLS is to check what an event
    loop's connections cannot (OCSP).
    """
    terms = Terms(confirm, timeout, retries, on_error, replicas, on_disk)
    options = arranged(publish_options, delay=delay, metadata=metadata)
    once, owner = (idempotency_key, idempotency_window), owner_of(task, app)
    if not has_fallback(owner):
        await asyncio.to_thread(fallback_of, owner)
    if is_canvas(task) and not owner.conf.task_always_eager:
        return await AsyncSending(task, terms, owner, once).send_async(tuple(args), dict(kwargs or {}), options)
    outgoing = None if is_canvas(task) else Outgoing(task, terms, app=app, options=options, once=once)
    if outgoing is None or outgoing.runs_here:
        send = partial(
            supervised_send, task, args, kwargs, confirm=confirm, timeout=timeout, retries=retries, on_error=on_error,
            replicas=replicas, on_disk=on_disk, idempotency_key=idempotency_key, idempotency_window=idempotency_window,
            delay=delay, metadata=metadata, app=app, **publish_options,
        )  # fmt: skip
        return await asyncio.to_thread(travel.carry(send))
    draft = AsyncDraft(outgoing)
    try:
        outgoing.send(args, kwargs, draft)
        await draft.publish_now()
    except (RedisError, BreakerOpen, *TRANSIENT) as error:
        kept = await asyncio.to_thread(outgoing.keep, draft, draft.attempts, error)
        return kept or outgoing.failed(draft.attempts, error)
    receipt = Receipt(draft.first, outgoing.app) if draft.first else outgoing.receipt
    receipt = terms.await_replicas(receipt, draft.replicas)
    await terms.await_worker_async(receipt, outgoing.left_s)
    return receipt
