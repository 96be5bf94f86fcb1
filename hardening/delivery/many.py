"""Sending one task many times, a chunk to a round trip."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from hardening.core.deployment import scope_of
from hardening.core.errors import BreakerOpen, HardeningError, PublishFailed, SendManyFailed, SpoolError
from hardening.delivery.attempts import TRANSIENT, Attempts
from hardening.delivery.fallback import fallback_of
from hardening.delivery.options import arranged
from hardening.delivery.outgoing import fields_of, name_of, owner_of
from hardening.delivery.receipt import Receipt
from hardening.delivery.send import supervised_send
from hardening.delivery.shortcut import is_plain, is_uniform
from hardening.delivery.template import QueueUnknown, Template
from hardening.delivery.terms import OnError, Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from celery import Celery

    from hardening.delivery.outgoing import AnyTask

__all__ = ["SendFailure", "send_many", "stream_many"]

#: The most messages of one script call, which Redis does nothing else meanwhile, and about the most bytes.
_MOST, _MOST_BYTES = 1000, 2**20
#: What makes each message another one, so that it cannot be said of all.
_FOR_ONE = ("idempotency_key", "idempotency_window", "task_id", "confirm")


@dataclass(frozen=True, slots=True)
class SendFailure:
    """One message of many that was not sent.

    Attributes:
        index: its place in the iterable, from 0.
        args: its arguments.
        error: why.
    """

    index: int
    args: Any
    error: Exception


def send_many(  # noqa: PLR0913 - as many as for supervised_send
    task: AnyTask,
    args_iterable: Iterable[Sequence[Any]],
    *,
    chunk: int = 200,
    on_progress: Callable[[int], object] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    timeout: float = 5.0,
    retries: int = 3,
    on_error: OnError = "dead_letter",
    delay: float | timedelta | None = None,
    metadata: Mapping[str, Any] | None = None,
    app: Celery | None = None,
    **publish_options: Any,
) -> list[Receipt]:
    """Sends a task once for each item of an iterable.

    A chunk is one call of one script: all of it or nothing gets to Redis. A plain task, sent from outside any task,
    with nobody listening to Celery's publication signals and no routes that look at arguments, costs about a tenth
    of ``delay()``; any other message is sent by :func:`~hardening.delivery.send.supervised_send`, one after the other.

    Args:
        task: a task, its name, or a signature.
        args_iterable: the positional arguments of each message.
        chunk: how many messages to publish together, at most 1,000; fewer where they are large.
        on_progress: called after each chunk with how many messages were sent so far. What it raises ends the sending,
            as what the iterable raises does.
        kwargs: keyword arguments of all messages.
        timeout: for each chunk, in seconds.
        retries: likewise, how often to publish again while Redis is away. A repeat never makes a second message.
        on_error: as for ``supervised_send``, for each message that Redis did not take: ``dead_letter`` spools it, and
            it is a failure only when that fails.
        delay: as for ``supervised_send``, counted anew for each chunk, and so is a countdown.
        metadata: kept with each message.
        app: for a name; default: the current app.
        **publish_options: as for ``apply_async``, for all messages.

    Returns:
        The receipts, in the order of the iterable. With ``on_error`` ``log`` or ``ignore`` some may be of messages
        that were not published.

    Raises:
        SendManyFailed: some messages were not sent, or the iterable or ``on_progress`` raised. It has the receipts of
            those that were, and says of each that was not why. What came after their chunk was not tried.
        ConfigError: the app is not hardened.
        ValueError: an argument that makes no sense.
        TypeError: an option that cannot be one for many messages.
    """
    receipts: list[Receipt] = []
    stream = stream_many(
        task, args_iterable, chunk=chunk, on_progress=on_progress, kwargs=kwargs, timeout=timeout, retries=retries,
        on_error=on_error, delay=delay, metadata=metadata, app=app, **publish_options,
    )  # fmt: skip
    try:
        for receipt in stream:
            receipts.append(receipt)  # noqa: PERF402 - what was sent before it raised is kept
    except SendManyFailed as failed:
        raise SendManyFailed(name_of(task), failed.failures, failed.sent, receipts) from failed.__cause__
    except Exception as error:
        if not receipts:
            raise
        raise SendManyFailed(name_of(task), (), len(receipts), receipts) from error
    return receipts


def stream_many(  # noqa: PLR0913 - likewise
    task: AnyTask,
    args_iterable: Iterable[Sequence[Any]],
    *,
    chunk: int = 200,
    on_progress: Callable[[int], object] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    timeout: float = 5.0,
    retries: int = 3,
    on_error: OnError = "dead_letter",
    delay: float | timedelta | None = None,
    metadata: Mapping[str, Any] | None = None,
    app: Celery | None = None,
    **publish_options: Any,
) -> Iterator[Receipt]:
    """Sends as :func:`send_many` does, and hands out receipts as chunks are accepted; holds one chunk at a time.

    Nothing is sent until the receipts are asked for. When the iterable or ``on_progress`` raises, what was given before
    is sent, and its receipts are handed out, first.
    After ``SendManyFailed``, which then has no receipts, the rest of the iterable is untouched: one may go on with it.

    Yields:
        The receipts, in order.

    Raises:
        SendManyFailed: once all receipts of the chunk with failures are handed out.
    """
    if not 1 <= chunk <= _MOST:
        raise ValueError(f"chunk is {chunk!r}, expected 1 to {_MOST}")
    if wrong := [name for name in _FOR_ONE if name in publish_options]:
        raise TypeError(f"{wrong[0]} is for one message: use supervised_send, or wait on the receipts")
    options = arranged(publish_options, delay=delay, metadata=metadata)
    terms = Terms("queued", timeout, retries, on_error)
    many = _Many(task, owner_of(task, app), terms, dict(kwargs or {}), options)
    return many.stream(args_iterable, chunk, on_progress or (lambda _: None))


#: A message: its place, its arguments, its receipt's id and its raw bytes.
_Made = tuple[int, "Sequence[Any]", str, bytes]


class _Many:
    """All messages of one call."""

    def __init__(
        self, task: AnyTask, app: Celery, terms: Terms, kwargs: dict[str, Any], options: dict[str, Any]
    ) -> None:
        self._task = task
        self._name = name_of(task)
        self._app = app
        self._terms = terms
        self._kwargs = kwargs
        self._options = options
        self._fallback = fallback_of(app)
        self._failures: list[SendFailure] = []
        self._sent = 0

    def stream(
        self, iterable: Iterable[Sequence[Any]], size: int, on_progress: Callable[[int], object]
    ) -> Iterator[Receipt]:
        """Sends chunk after chunk."""
        at, items = 0, iter(iterable)
        broken: Exception | None = None
        while not broken:
            chunk: list[tuple[int, Sequence[Any]]] = []
            try:
                for args in islice(items, size):
                    chunk.append((at + len(chunk), args))
            except Exception as error:  # noqa: BLE001 - the caller's own, raised when what came before it is sent
                broken = error
            if not chunk:
                break
            at += len(chunk)
            receipts = self._send(chunk)
            try:
                on_progress(self._sent)
            except Exception as error:  # noqa: BLE001 - likewise: what is sent is handed out first
                broken = broken or error
            yield from receipts
            if self._failures:
                raise SendManyFailed(self._name, self._failures, self._sent) from self._failures[0].error
        if broken:
            raise broken

    def _send(self, chunk: list[tuple[int, Sequence[Any]]]) -> list[Receipt]:
        """Sends one chunk. Returns its receipts, without those of failures."""
        if is_plain(self._task, self._app, self._options) and is_uniform(self._task, self._app):
            try:
                template = Template(self._task, dict(self._options), fields_of(self._name, self._app))
            except QueueUnknown:
                pass
            else:
                return self._send_together(chunk, template)
        return [receipt for index, args in chunk for receipt in self._send_alone(index, args)]

    def _send_together(self, chunk: list[tuple[int, Sequence[Any]]], template: Template) -> list[Receipt]:
        attempts = Attempts(
            self._app, retries=self._terms.retries, timeout_s=self._terms.timeout_s, breaker=self._fallback.breaker
        )
        receipts: list[Receipt] = []
        call: list[_Made] = []
        size = 0
        for index, args in chunk:
            try:
                receipt, raw = template.message(_positional(args), self._kwargs)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is this message's
                self._failures.append(SendFailure(index, args, error))
                continue
            if call and size + len(raw) > _MOST_BYTES:
                receipts += self._publish(call, template, attempts)
                call, size = [], 0
            call.append((index, args, receipt, raw))
            size += len(raw)
        return receipts + self._publish(call, template, attempts) if call else receipts

    def _publish(self, call: list[_Made], template: Template, attempts: Attempts) -> list[Receipt]:
        """Publishes what fits one call; where Redis does not take it, each message goes its own way."""
        sample = template.publication
        script = scope_of(self._app).publish_many(
            sample.list_key, sample.queue, [raw for *_, raw in call], due_ms=sample.due_ms, task=self._name,
            guarantee=sample.fields["guarantee"],
        )  # fmt: skip
        try:
            attempts.run(self._name, script.run)
        except (RedisError, BreakerOpen, *TRANSIENT) as away:
            return [kept for one in call for kept in self._fall_back(*one, template, attempts, away)]
        self._sent += len(call)
        return [Receipt(receipt, self._app) for _, _, receipt, _ in call]

    def _fall_back(
        self,
        index: int,
        args: Sequence[Any],
        receipt: str,
        raw: bytes,
        template: Template,
        attempts: Attempts,
        away: Exception,
    ) -> list[Receipt]:
        """What becomes of one message that Redis did not take: its receipt, or none."""
        spool: SpoolError | None = None
        if self._terms.on_error == "dead_letter" and isinstance(away, (BreakerOpen, *TRANSIENT)):
            try:
                self._fallback.keep(
                    template.completed(receipt, raw), is_uncertain=attempts.is_uncertain,
                    why=f"{type(away).__name__}: {away}",
                )  # fmt: skip
            except SpoolError as error:
                spool = error
            else:
                self._sent += 1
                return [Receipt(receipt, self._app)]
        failed = PublishFailed(receipt, self._name, attempts.count, away, spool=spool)
        try:
            self._terms.undelivered(failed, spool or away)
        except PublishFailed as error:
            self._failures.append(SendFailure(index, args, error))
            return []
        return [Receipt(receipt, self._app)]

    def _send_alone(self, index: int, args: Sequence[Any]) -> list[Receipt]:
        """Sends one message by itself: its receipt, or none."""
        terms = self._terms
        try:
            receipt = supervised_send(
                self._task, _positional(args), self._kwargs, timeout=terms.timeout_s, retries=terms.retries,
                on_error=terms.on_error, app=self._app, **self._options,
            )  # fmt: skip
        except Exception as error:
            if not isinstance(error, HardeningError) or isinstance(error, PublishFailed | SpoolError):
                self._failures.append(SendFailure(index, args, error))
                return []
            raise
        self._sent += 1
        return [receipt]


def _positional(args: Sequence[Any]) -> tuple[Any, ...]:
    if not isinstance(args, tuple | list):
        raise TypeError(f"an item is a {type(args).__name__}, expected a tuple or list of positional arguments")
    return tuple(args)
