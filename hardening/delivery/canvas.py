"""Sending chains, groups and chords with receipts.

Celery prepares and sends a canvas as ever; whoever stands in for its producers meanwhile publishes each message with a
receipt of its own, with the attempts, the breaker and the spool of a single send, all within one time limit.

Guarantees: of each message that was handed to Celery's producer it is known whether Redis or the spool has it.

Does not guarantee: that all messages of a group are published, or none; nor that a chord's body ever runs when sending
its header failed half-way. A chord's result backend is asked first whether it is there.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celery.canvas import _chain as chain
from celery.canvas import chord, chunks, group
from celery.result import EagerResult, GroupResult
from redis.exceptions import RedisError

from hardening.core import raw as raw_message
from hardening.core.errors import BreakerOpen, HardeningError, PublishFailed, SendManyFailed
from hardening.core.membership import boot_clock_s
from hardening.core.stand_in import standing_in
from hardening.delivery.attempts import TRANSIENT, Attempts
from hardening.delivery.fallback import fallback_of
from hardening.delivery.group_receipt import GroupReceipt, Returned
from hardening.delivery.outgoing import Outgoing, fields_of, owner_of
from hardening.delivery.producer import ReceiptProducer
from hardening.delivery.receipt import Receipt, ran_here

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from celery import Celery, Signature

    from hardening.delivery.terms import Terms

__all__ = ["Sending", "is_canvas", "send_canvas"]

_CANVASES = (chain, group, chord, chunks)
#: What counts a chord's header for backends that cannot: it is sent with a receipt, and is no part of the header.
_UNLOCK = "celery.chord_unlock"
#: A task's id that can be that of its receipt as well.
_MAY_NAME_A_RECEIPT = re.compile(r"[0-9A-Za-z-]{36}")
_Once = tuple["str | None", "float | timedelta | None"]


def is_canvas(task: object) -> bool:
    """Whether it is a signature of several tasks."""
    return issubclass(type(task), _CANVASES)  # a task may be a proxy, whose class takes 2 us to tell


def send_canvas(
    canvas: Signature[Any],
    terms: Terms,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    *,
    app: Celery | None,
    options: dict[str, Any],
    once: _Once,
) -> Receipt:
    """Sends a canvas; arguments as for :func:`~hardening.delivery.send.supervised_send`.

    Returns:
        Of a chain, which is sent as one message, the receipt of that; its result is the last task's. Otherwise a
        :class:`~hardening.delivery.GroupReceipt`.

    Raises:
        SendManyFailed: some of several messages were not sent. It has the receipts of those that were.
    """
    sending = Sending(canvas, terms, owner_of(canvas, app), once)
    with sending.in_place():
        sent = sending.send(tuple(args), dict(kwargs or {}), options)
    receipt = sending.receipt(sent)
    sending.keep(receipt)
    sending.let_go(sent)
    if not isinstance(sent, EagerResult | GroupResult) or sending.members:
        receipt = sending.replicated(receipt)
    terms.await_worker(receipt, sending.left_s)
    return receipt


def _is_one_message(canvas: Any) -> bool:
    """Whether it begins with one message, which brings about all others."""
    if isinstance(canvas, chain):
        return bool(canvas.tasks) and _is_one_message(canvas.tasks[0])
    return not isinstance(canvas, group | chord | chunks)


class Sending:
    """One canvas on its way; the producer of its messages.

    Attributes:
        app: who sends.
        terms: what is asked of the send.
        until_s: when its time is up, by the boot clock, in seconds.
        members: the receipts of what was published or spooled so far.
        published: the ids of all tasks among them.
    """

    def __init__(self, canvas: Any, terms: Terms, app: Celery, once: _Once) -> None:
        self.until_s = boot_clock_s() + terms.timeout_s
        self.members: list[Receipt] = []
        self.published: list[str] = []
        self._replicas: list[int] = []
        self._receipts: dict[str, str] = {}
        self._canvas = canvas
        self._name = str(canvas.task)
        self.terms = terms
        self.app = app
        self._once = once
        self._is_one = _is_one_message(canvas)
        if not self._is_one and once != (None, None):
            raise ValueError(f"task is a {self._name}, which is several messages: an idempotency_key names one")

    @property
    def left_s(self) -> float:
        """How much of the time is left, in seconds."""
        return max(0.0, self.until_s - boot_clock_s())

    @property
    def connection(self) -> Sending:
        """Celery asks its producer's connection to translate errors; ours need none."""
        return self

    def _reraise_as_library_errors(self) -> AbstractContextManager[None]:
        return nullcontext()

    def in_place(self) -> AbstractContextManager[None]:
        """Publishes for the app in this block, unless its tasks run here."""
        return nullcontext() if self.app.conf.task_always_eager else standing_in(self.app, self)

    def send(self, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> object:
        """Has Celery send it. What fails besides the publications is the result backend."""
        if self.app.conf.task_always_eager:
            return self._canvas.apply_async(args, kwargs, **options)
        listening = _listening(self.app)
        try:
            if isinstance(self._canvas, chord):
                self._ask_backend()
            return self._canvas.apply_async(args, kwargs, **options)
        except (HardeningError, RedisError, *TRANSIENT) as error:
            _let_go(self.app, None, _listening(self.app) - listening)
            self.failed(error)
            return None

    def failed(self, error: Exception) -> None:
        """Some of it was not sent: that is told as was asked.

        Raises:
            SendManyFailed: of several messages, with the receipts of those that were sent.
            HardeningError: likewise, of one message, or of the first.
        """
        if isinstance(error, HardeningError):
            if self._is_one or (not isinstance(error, PublishFailed) and not self.members):
                raise error
            raise self._many_failed(error) from error
        failed = PublishFailed(raw_message.new_id(), self._name, 1, error)
        if self.terms.on_error in ("raise", "dead_letter"):
            raise (failed if self._is_one else self._many_failed(failed)) from error
        self.terms.undelivered(failed, error)

    def _ask_backend(self) -> None:
        """A chord is counted by its result backend: without one nothing is sent."""
        try:
            self.app.backend.ensure_chords_allowed()
        except NotImplementedError:
            raise ValueError("task is a celery.chord, which needs a result backend: set result_backend") from None
        self.app.backend.get_task_meta(raw_message.new_id())

    def _many_failed(self, error: Exception) -> SendManyFailed:
        from hardening.delivery.many import SendFailure  # noqa: PLC0415 - which sends singles, as this does not

        failure = SendFailure(len(self.members), (), error)
        return SendManyFailed(self._name, [failure], len(self.members), self.members)

    def publish(self, body: Any, **options: Any) -> None:
        """What Celery calls with each finished message, and with the events that tell of them."""
        headers = options["headers"]
        if "task" not in headers:
            with standing_in(self.app, None), self.app.producer_pool.acquire(block=True, timeout=5.0) as producer:
                producer.publish(body, **options)
            return
        outgoing = self.outgoing(body, headers)
        attempts = Attempts(
            self.app, retries=self.terms.retries, timeout_s=self.left_s, breaker=outgoing.fallback.breaker
        )
        producer = ReceiptProducer(self.app, outgoing.receipt.id, outgoing.fields, attempts, outgoing.replication)
        try:
            producer.publish(body, **options)
        except (RedisError, BreakerOpen, *TRANSIENT) as error:
            receipt = outgoing.keep(producer, attempts, error) or outgoing.failed(attempts, error)
        else:
            receipt = Receipt(producer.first, self.app) if producer.first else outgoing.receipt
        self.note(outgoing, receipt, producer.replicas)

    def outgoing(self, body: Any, headers: Mapping[str, Any]) -> Outgoing:
        """One message of it."""
        outgoing = Outgoing(
            headers["task"], self.terms, app=self.app, options={"task_id": headers["id"]}, once=self._once
        )
        outgoing.until_s = self.until_s
        if _MAY_NAME_A_RECEIPT.fullmatch(headers["id"]):
            outgoing.receipt = Receipt(headers["id"], self.app)
        last = _last_of(body, headers["id"])
        if last:
            outgoing.fields["last"] = last
        return outgoing

    def note(self, outgoing: Outgoing, receipt: Receipt, replicas: int) -> None:
        """One message of it is published, or spooled."""
        task_id = outgoing.fields["task_id"]
        self.published.append(task_id)
        if outgoing.name == _UNLOCK:
            return
        self.members.append(receipt)
        self._receipts[outgoing.fields.get("last") or task_id] = receipt.id
        self._replicas.append(replicas)

    def receipt(self, sent: Any) -> Receipt:
        """What follows all of it."""
        if isinstance(sent, EagerResult):
            of_one = self._ran_here(sent)
            is_chord = isinstance(self._canvas, chord)
            return GroupReceipt(sent.id, self.app, members=(of_one,), body=sent.id) if is_chord else of_one
        if isinstance(sent, GroupResult) and not self.members:
            members = tuple(self._ran_here(one) for one in _flat(sent))
            return GroupReceipt(str(sent.id), self.app, members=members, results=_tree(sent, {}))
        if self._is_one and self.members:
            return self.members[0]
        told: dict[str, Any] = {"app": self.app, "members": tuple(self.members)}
        if isinstance(sent, GroupResult):
            return GroupReceipt(str(sent.id), **told, results=_tree(sent, self._receipts))
        if sent is None:  # it failed half-way, and nobody wants to know
            return GroupReceipt(raw_message.new_id(), **told)
        return GroupReceipt(str(getattr(sent.parent, "id", sent.id)), **told, body=str(sent.id))

    def _ran_here(self, result: EagerResult[Any]) -> Receipt:
        name = str(result.name or self._name)
        fields = {**fields_of(name, self.app), "task_id": str(result.id)}
        return ran_here(Receipt(str(result.id), self.app), result, fields)

    def let_go(self, sent: Any) -> None:
        """Ends what Celery's results listen to."""
        _let_go(self.app, sent, self._tasks)

    @property
    def _tasks(self) -> list[str]:
        """The ids of all tasks that are messages of it."""
        return self.published

    def keep(self, receipt: Receipt) -> None:
        """Has Redis keep which messages these are, so that others can follow them; while it is away they cannot."""
        if not isinstance(receipt, GroupReceipt) or not self.members:
            return
        attempts = self.attempts()
        with suppress(RedisError, BreakerOpen, *TRANSIENT):
            attempts.run(self._name, receipt.record.keep(self.app, receipt.id).run)

    def attempts(self) -> Attempts:
        """For what follows the messages."""
        breaker = fallback_of(self.app).breaker
        return Attempts(self.app, retries=self.terms.retries, timeout_s=max(0.1, self.left_s), breaker=breaker)

    def replicated(self, receipt: Receipt) -> Receipt:
        """The receipt with how many replicas have each message.

        Raises:
            NotReplicated: too few, with ``on_error="raise"``.
        """
        if not self.terms.is_replicated:
            return receipt
        had = [self.terms.await_replicas(*one) for one in zip(self.members, self._replicas, strict=True)]
        return replace(receipt, members=tuple(had)) if isinstance(receipt, GroupReceipt) else had[0]


def _flat(results: Any) -> list[Any]:
    """The results of single tasks in a result of several."""
    return [
        one for result in results.results for one in (_flat(result) if isinstance(result, GroupResult) else [result])
    ]


def _tree(results: Any, receipts: Mapping[str, str]) -> tuple[Any, ...]:
    """What a group returns, by id: of a task, and of the receipt that leads to it; a group in it is a tuple as well."""
    return tuple(
        _tree(one, receipts) if isinstance(one, GroupResult) else Returned(one.id, receipts.get(one.id, ""))
        for one in results.results
    )


def _listening(app: Celery) -> set[str]:
    """The tasks of whose end Celery's results in this thread want to hear."""
    return {task_id for waiting in getattr(app.backend, "_pending_results", ()) for task_id in tuple(waiting)}


def _let_go(app: Celery, sent: Any, published: Iterable[str]) -> None:
    """Ends what Celery's results listen to: nobody will ask them, and when they are collected Redis may be away.

    Those of a chord's header its result backend would keep for ever.
    """
    results = []
    while sent is not None and not isinstance(sent, EagerResult):
        results += _flat(sent) if isinstance(sent, GroupResult) else [sent]
        sent = sent.parent
    for waiting in getattr(app.backend, "_pending_results", ()):
        for task_id in {*published, *(one.id for one in results)}:
            results += (waiting.get(task_id) or {}).values()
    for one in results:
        backend, one.backend = one.backend, None
        if backend is not None:
            with suppress(Exception):
                backend.remove_pending_result(one)


def _last_of(body: Any, own: str) -> str:
    """The id of the task whose result is that of a message with all that follows from it; empty: its own."""
    *_, embedded = body
    rest = embedded.get("chain")
    step: Any = rest[0] if rest else None
    while step and step["task"] == "celery.chord":
        step = step["kwargs"]["body"]
    last = str(step["options"].get("task_id", "")) if step else ""
    return "" if last == own else last
