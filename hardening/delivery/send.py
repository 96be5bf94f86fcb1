"""Sending with a receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from celery.result import EagerResult
from redis.exceptions import RedisError

from hardening.core.errors import BreakerOpen
from hardening.delivery.attempts import TRANSIENT, Attempts
from hardening.delivery.canvas import is_canvas, send_canvas
from hardening.delivery.options import arranged
from hardening.delivery.outgoing import Outgoing
from hardening.delivery.producer import ReceiptProducer
from hardening.delivery.receipt import Receipt, ran_here
from hardening.delivery.terms import Confirm, OnError, Terms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from celery import Celery, Signature

    from hardening.delivery.outgoing import AnyTask

__all__ = ["Confirm", "OnError", "send_by", "supervised_send"]


def supervised_send(  # noqa: PLR0913 - each is one word of what a sender may ask for
    task: AnyTask,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    confirm: Confirm = "queued",
    timeout: float = 5.0,
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
    """Sends a task and returns a receipt that follows it.

    With ``task_always_eager`` a task or a signature runs here, at once, and nothing is published: its receipt knows
    the end by itself, ``acked``, or ``dead`` when the task raised. With ``task_eager_propagates`` what the task raises
    is raised here. A name is published all the same, as Celery has it. A chain or chord raises there what its first
    failing task raises, as Celery has it.

    A chain is sent as one message, and its receipt's result is that of its last task. A group, a chord and chunks are
    several messages, each with a receipt of its own, confirmed within one ``timeout``: what follows them all is a
    :class:`~hardening.delivery.GroupReceipt`.

    Args:
        task: a task, its name, or a signature, also of a canvas; its own arguments and options come first.
        args: positional arguments; for a signature, put before its own.
        kwargs: keyword arguments.
        confirm: ``queued``: Redis has it, one round trip. ``replicated``: so have replicas; how many
            had it in the end says ``receipt.replicas``. ``claimed``: a worker has it. ``started``: it
            runs. ``acked``: it is done.
        timeout: for all of it together, attempts and confirmation, in seconds.
        retries: how often to publish again while Redis is away. A repeat never makes a second message.
        on_error: ``raise``: always raise. ``log``, ``ignore``: never raise what Redis or a worker did.
            ``dead_letter``: raise only when the message is nowhere safe; one that Redis has is safe, and
            its receipt goes on following it. While Redis is away the message is spooled: the receipt comes
            back at once, whatever ``confirm`` asks for, in state ``spooled``, and follows it later.
        replicas: how many must have it with ``confirm="replicated"``.
        on_disk: whether they, and Redis itself, must have it on disk; needs Redis 7.2 and its append-only file.
        idempotency_key: a name for the message: of all sends with the same key, from whichever process, the first is
            published and the others return its receipt, whatever their task and arguments are. So name in the key
            whatever makes it another message: ``"order-17-paid"``. Only a digest of it gets to Redis. It says that
            the message was sent, not how it ended; with ``task_always_eager`` it says nothing. What is several
            messages refuses one.
        idempotency_window: for how long after the first, in seconds or a ``timedelta``; default:
            ``hardening_idempotency_window_s``. The receipt is kept at least as long.
        delay: how long to hold the message before it is queued, in seconds or a ``timedelta``: Celery's ``countdown``.
        metadata: kept with the message, and with its dead letter if it comes to that. JSON.
        app: for a name; default: the current app.
        **publish_options: as for ``apply_async``: queue, countdown, eta, expires, priority, headers, ...

    Returns:
        The receipt; that of the first send with its idempotency key. With ``on_error`` ``log`` or ``ignore`` it may
        be of a message that was not published; its status is then ``unknown``.

    Raises:
        PublishFailed: Redis did not take it, nor could it be spooled.
        SendManyFailed: of several messages some were not sent; it has the receipts of those that were.
        SpoolFull: Redis is away, and the spool has no room, with ``on_error="dead_letter"``.
        ConfirmTimeout: it did not get as far as ``confirm`` in time, with ``on_error="raise"``.
        NotReplicated: too few replicas had it in time, with ``on_error="raise"``.
        MessageDied: it was buried before it got there, with ``on_error="raise"``.
        ValueError: an argument that makes no sense, or two that contradict each other.
        TypeError: arguments that the task does not take, or an option that there is not.
        kombu.exceptions.EncodeError: arguments that are not JSON.
    """
    options = arranged(publish_options, delay=delay, metadata=metadata)
    if is_canvas(task):
        return send_canvas(
            cast("Signature[Any]", task), Terms(confirm, timeout, retries, on_error, replicas, on_disk), args, kwargs,
            app=app, options=options, once=(idempotency_key, idempotency_window),
        )  # fmt: skip
    outgoing = Outgoing(
        task, Terms(confirm, timeout, retries, on_error, replicas, on_disk), app=app, options=options,
        once=(idempotency_key, idempotency_window),
    )  # fmt: skip
    attempts = Attempts(outgoing.app, retries=retries, timeout_s=timeout, breaker=outgoing.fallback.breaker)
    producer = ReceiptProducer(outgoing.app, outgoing.receipt.id, outgoing.fields, attempts, outgoing.replication)
    return send_by(producer, outgoing, args, kwargs)


def send_by(
    producer: ReceiptProducer, outgoing: Outgoing, args: Sequence[Any], kwargs: Mapping[str, Any] | None
) -> Receipt:
    """Sends one message by its producer, and sees to it that its terms are met.

    Raises:
        PublishFailed: as for :func:`supervised_send`, which says what else is raised.
    """
    try:
        sent = outgoing.send(args, kwargs, producer)
    except (RedisError, BreakerOpen, *TRANSIENT) as error:
        if outgoing.runs_here:
            raise
        return outgoing.keep(producer, producer.attempts, error) or outgoing.failed(producer.attempts, error)
    receipt = outgoing.receipt
    if isinstance(sent, EagerResult):
        receipt = ran_here(receipt, sent, outgoing.fields)
    elif producer.first:
        receipt = Receipt(producer.first, outgoing.app)
    if not isinstance(sent, EagerResult):
        receipt = outgoing.terms.await_replicas(receipt, producer.replicas)
    outgoing.terms.await_worker(receipt, outgoing.left_s)
    return receipt
