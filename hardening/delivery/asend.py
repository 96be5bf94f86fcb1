"""Sending with a receipt, from a coroutine."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import signals
from redis.exceptions import RedisError

from hardening.core import travel
from hardening.core.deployment import client_of, scope_of
from hardening.core.errors import BreakerOpen
from hardening.delivery.async_client import forget_pool, pool_of, run_async
from hardening.delivery.attempts import TRANSIENT, Attempts
from hardening.delivery.canvas import is_canvas
from hardening.delivery.draft import Draft
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
    idempotency_key: str | None = None,
    idempotency_window: float | timedelta | None = None,
    delay: float | timedelta | None = None,
    metadata: Mapping[str, Any] | None = None,
    app: Celery | None = None,
    **publish_options: Any,
) -> Receipt:
    """Sends as :func:`~hardening.delivery.send.supervised_send` does, without holding up the event loop.

    The round trip and the pauses between attempts are the loop's own. A thread is used for a spool's disk, for waiting
    for a worker, and for the whole send where somebody listens to what Celery says after a publication
    (``after_task_publish``, ``task_sent``, ``task-sent`` events), for ``confirm="replicated"`` and with
    ``task_always_eager``.

    Cancelled, it may have published or not; nobody waits for the answer any more, and its connection is closed.

    Args, returns and raises as ``supervised_send``; besides ``ConfigError`` where TLS is to check what an event
    loop's connections cannot (OCSP).
    """
    said: dict[str, Any] = {"idempotency_key": idempotency_key, "idempotency_window": idempotency_window}
    terms = Terms(confirm, timeout, retries, on_error, publish_options.pop("replicas", 1))
    if is_canvas(task) or _needs_a_thread(owner_of(task, app), terms):
        said |= {"confirm": confirm, "timeout": timeout, "retries": retries, "on_error": on_error, "delay": delay}
        said |= {"metadata": metadata, "replicas": terms.replicas, "app": app}
        send = travel.carry(partial(supervised_send, task, args, kwargs, **said, **publish_options))
        return await asyncio.to_thread(send)
    options = arranged(publish_options, delay=delay, metadata=metadata)
    outgoing = Outgoing(task, terms, app=app, options=options, once=(idempotency_key, idempotency_window))
    attempts = Attempts(outgoing.app, retries=retries, timeout_s=timeout, breaker=outgoing.fallback.breaker)
    draft = Draft(outgoing.app, outgoing.receipt.id, outgoing.fields)
    try:
        outgoing.send(args, kwargs, draft)
        reply = await attempts.run_async(outgoing.name, partial(_publish, draft), partial(forget_pool, outgoing.app))
    except (RedisError, BreakerOpen, *TRANSIENT) as error:
        kept = await asyncio.to_thread(outgoing.keep, draft, attempts, error)
        return kept or outgoing.failed(attempts, error)
    receipt = Receipt(reply.decode(), outgoing.app) if isinstance(reply, bytes) else outgoing.receipt
    if terms.is_by_worker:
        await asyncio.to_thread(terms.await_worker, receipt, outgoing.left_s)
    return receipt


def _needs_a_thread(app: Celery, terms: Terms) -> bool:
    """Whether something besides the publication would hold up the loop, or would be told too early."""
    return bool(
        terms.is_replicated
        or app.conf.task_always_eager
        or app.conf.task_send_sent_event
        or signals.after_task_publish.receivers
        or signals.task_sent.receivers
    )


async def _publish(draft: Draft) -> Any:
    pool = await pool_of(draft.app)
    if draft.publication is None:  # its exchange must be looked up, which is kombu's to do
        await asyncio.to_thread(lambda: draft.resolved(client_of(draft.app)))
    publication = draft.publication
    if publication is None:
        raise ValueError("the message was not made")
    return await run_async(publication.call(scope_of(draft.app)), pool)
