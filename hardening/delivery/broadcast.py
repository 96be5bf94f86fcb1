"""One task to several recipients, and what became of it with each."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hardening.core.errors import (
    BreakerOpen,
    BroadcastFailed,
    BroadcastRefused,
    ConfirmTimeout,
    MessageDied,
    NotReplicated,
    PublishFailed,
    ReceiptNotFound,
    RecipientRefused,
    SpoolError,
)
from hardening.core.membership import boot_clock_s
from hardening.core.scripts.broadcasting import Refusal
from hardening.delivery.attempts import TRANSIENT
from hardening.delivery.broadcast_result import STRATEGIES, BroadcastResult, Outcome, OutcomeStatus, Strategy
from hardening.delivery.confirmations import Confirmations, Seen
from hardening.delivery.copies import Copies
from hardening.delivery.fallback import fallback_of
from hardening.delivery.options import arranged
from hardening.delivery.outgoing import name_of, owner_of
from hardening.delivery.posting import MOST_AT_ONCE, Posting
from hardening.delivery.receipt import DeliveryStatus
from hardening.delivery.recipients import recipients_of
from hardening.delivery.terms import Confirm, OnError, Terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from celery import Celery

    from hardening.delivery.copies import Copy
    from hardening.delivery.outgoing import AnyTask
    from hardening.delivery.recipients import AnyRecipient, Recipient

__all__ = ["broadcast"]

logger = logging.getLogger("hardening.delivery")

#: What makes each message another one, and what recipients say.
_KEYED = ("idempotency_key", "idempotency_window")
_FOR_ONE = ("task_id", "queue", "exchange", "routing_key", "exchange_type")


def broadcast(  # noqa: PLR0913 - each is one word of what a sender may ask for
    task: AnyTask,
    recipients: Iterable[AnyRecipient],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    strategy: Strategy = "best_effort",
    confirm: Confirm = "queued",
    timeout: float = 5.0,
    retries: int = 3,
    on_error: OnError = "dead_letter",
    replicas: int = 1,
    on_disk: bool = False,
    delay: float | timedelta | None = None,
    metadata: Mapping[str, Any] | None = None,
    app: Celery | None = None,
    **publish_options: Any,
) -> BroadcastResult:
    """Sends one task to several recipients, each of which gets a message with a receipt of its own.

    All messages are made before the first is published. With ``task_always_eager`` the task runs here, once for each
    recipient, and nobody is asked for.

    ``best_effort``: whoever can have it gets it. ``at_least_one``: likewise; it is a success with the first recipient
    that confirms, and returns then. ``all_or_nothing``: one script looks whether a live consumer takes from every
    queue (a hardened worker whose lease has not run out, and that has not been told to stop taking from there) and
    publishes to all of them, or to none. What happens after that happens to each message by itself: a consumer that
    dies at that very moment leaves its message in the queue, and the result says so.

    A worker as recipient must take from its direct queue whatever the strategy, see
    :func:`~hardening.delivery.recipients.worker`; it is refused otherwise. A message that waits in a spool goes there
    without that question.

    Args:
        task: a task, its name, or a signature.
        recipients: names of queues, or ``queue()``, ``worker()``, ``agent()``. Those that share a queue are one, the
            first of them. At most 1,000 for ``all_or_nothing``.
        args: positional arguments, the same for all.
        kwargs: keyword arguments, likewise.
        strategy: ``best_effort``, ``at_least_one`` or ``all_or_nothing``.
        confirm: how far each message must get, as for ``supervised_send``.
        timeout: for all of it together, publication and confirmations, in seconds. Spooling comes on top, about 5 ms
            for each recipient, for each is synced to the disk.
        retries: how often to publish again while Redis is away. A repeat never makes a second message, and is
            answered as the first attempt was.
        on_error: ``dead_letter``: while Redis is away, ``best_effort`` spools what it did not take. The other
            strategies never spool, for the answer is theirs to give now: they raise when nobody has confirmed
            (``at_least_one``) or nothing is published (``all_or_nothing``). Anything else is in the result.
            ``raise``: raise whenever the result is not ``ok``. ``log``, ``ignore``: never raise what Redis or a
            worker did.
        replicas: as for ``supervised_send``; one ``WAIT`` is for all of them.
        on_disk: likewise.
        delay: likewise.
        metadata: kept with each message.
        app: for a name; default: the task's, or the current one.
        **publish_options: as for ``apply_async``, for all messages.

    Returns:
        What became of each recipient's message, with its receipt; also of those that were not published.

    Raises:
        BroadcastRefused: all or nothing: nothing was published, for it names recipients that cannot have it.
        BroadcastFailed: the strategy was not met; it has the result. See ``on_error``.
        ConfigError: the app is not hardened, or an exchange does not lead to one queue.
        ValueError: an argument that makes no sense, such as an idempotency key.
        TypeError: arguments that the task does not take, or an option that there is not.
        kombu.exceptions.EncodeError: arguments that are not JSON.
    """
    until_s = boot_clock_s() + timeout
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy is {strategy!r}, expected one of: {', '.join(STRATEGIES)}")
    terms = Terms(confirm, timeout, retries, on_error, replicas, on_disk)
    listed = recipients_of(recipients)
    options = _for_all(publish_options, delay, metadata)
    if strategy == "all_or_nothing" and len(listed) > MOST_AT_ONCE:
        raise ValueError(f"{len(listed)} recipients, expected at most {MOST_AT_ONCE} for all_or_nothing")
    sender = owner_of(task, app)
    run = _Broadcast(name_of(task), sender, strategy, terms, until_s)
    result = run.result(Copies(task, sender, terms, options).made(listed, args, kwargs))
    _conclude(result, on_error, is_published=run.is_published)
    return result


def _for_all(
    options: Mapping[str, Any], delay: float | timedelta | None, metadata: Mapping[str, Any] | None
) -> dict[str, Any]:
    for name in _KEYED:
        if options.get(name) is not None:
            raise ValueError(f"{name} is {options[name]!r}, but a broadcast is several messages: one key names one")
    for name in _FOR_ONE:
        if name in options:
            raise TypeError(f"{name} is for one message: a broadcast goes where its recipients are")
    left = {name: value for name, value in options.items() if name not in _KEYED}
    return arranged(left, delay=delay, metadata=metadata)


def _conclude(result: BroadcastResult, on_error: OnError, *, is_published: bool) -> None:
    """Raises or logs, as was asked, unless it is a success."""
    if result.ok:
        return
    error = BroadcastFailed(result) if is_published or not result.refused else BroadcastRefused(result)
    is_grave = result.strategy == "at_least_one" or (result.strategy == "all_or_nothing" and not is_published)
    if on_error == "raise" or (on_error == "dead_letter" and is_grave):
        raise error
    if on_error == "log":
        logger.warning("%s", error)


class _Broadcast:
    """One broadcast, once its messages are made."""

    def __init__(self, task: str, app: Celery, strategy: Strategy, terms: Terms, until_s: float) -> None:
        self._task = task
        self._app = app
        self._strategy = strategy
        self._terms = terms
        self._until_s = until_s
        self.is_published = True

    def result(self, copies: Sequence[Copy]) -> BroadcastResult:
        """Publishes, waits, and tells."""
        if any(copy.receipt.here is not None for copy in copies):
            outcomes = [self._ran(copy) for copy in copies]
        else:
            outcomes = self._confirmed(self._posted(copies))
        return BroadcastResult(self._task, self._strategy, self._terms.confirm, tuple(outcomes))

    def _ran(self, copy: Copy) -> Outcome:
        """Of a task that ran here."""
        state = copy.receipt.status()
        if state is DeliveryStatus.ACKED:
            return Outcome(copy.recipient, OutcomeStatus.CONFIRMED, copy.receipt, state)
        died = MessageDied(copy.receipt.id, copy.receipt.details()["reason"])
        return Outcome(copy.recipient, OutcomeStatus.DEAD, copy.receipt, state, died)

    # -- publication

    def _posted(self, copies: Sequence[Copy]) -> list[Outcome]:
        """Publishes; what Redis has is pending."""
        is_all_or_none = self._strategy == "all_or_nothing"
        posting = Posting(self._app, copies, self._terms, all_or_none=is_all_or_none, until_s=self._until_s)
        posting.run(self._task)
        is_withheld = is_all_or_none and bool(posting.refused)
        self.is_published = not is_all_or_none or not (posting.error or posting.refused)
        outcomes = []
        for at, copy in enumerate(copies):
            if why := posting.refused.get(at):
                error = RecipientRefused(copy.receipt.id, str(copy.recipient), why, _told(why, copy.recipient))
                outcomes.append(Outcome(copy.recipient, OutcomeStatus.REFUSED, copy.receipt, error=error))
            elif is_withheld:
                outcomes.append(Outcome(copy.recipient, OutcomeStatus.WITHHELD, copy.receipt))
            elif posting.error and at in posting.unsent:
                outcomes.append(self._not_taken(copy, posting, posting.error))
            else:
                copy.tell(max(0.1, self._until_s - boot_clock_s()))
                outcomes.append(self._taken(copy, posting))
        return outcomes

    def _taken(self, copy: Copy, posting: Posting) -> Outcome:
        """Redis has it."""
        terms, receipt = self._terms, copy.receipt
        is_due_later = copy.publication is not None and copy.publication.due_ms
        state = DeliveryStatus.SCHEDULED if is_due_later else DeliveryStatus.QUEUED
        if terms.is_replicated:
            receipt = replace(receipt, replicas=posting.replicas)
        if terms.is_replicated and posting.replicas < terms.replicas:
            few = NotReplicated(receipt.id, terms.replicas, posting.replicas, terms.timeout_s)
            return Outcome(copy.recipient, OutcomeStatus.LATE, receipt, state, few)
        status = OutcomeStatus.PENDING if terms.is_by_worker else OutcomeStatus.CONFIRMED
        return Outcome(copy.recipient, status, receipt, state)

    def _not_taken(self, copy: Copy, posting: Posting, away: Exception) -> Outcome:
        """Redis does not have it, as far as is known; a spool may."""
        attempts, spool = posting.attempts, None
        is_away = isinstance(away, (BreakerOpen, *TRANSIENT))
        is_for_spool = self._terms.on_error == "dead_letter" and self._strategy == "best_effort" and is_away
        if is_for_spool and copy.publication is not None:
            why = f"{type(away).__name__}: {away}"
            try:
                fallback_of(self._app).keep(copy.publication, is_uncertain=attempts.is_uncertain, why=why)
            except SpoolError as error:
                spool = error
            else:
                return Outcome(copy.recipient, OutcomeStatus.SPOOLED, copy.receipt, DeliveryStatus.SPOOLED, away)
        failed = PublishFailed(copy.receipt.id, self._task, attempts.count, away, spool=spool)
        failed.__cause__ = spool or away
        return Outcome(
            copy.recipient, OutcomeStatus.UNSENT, copy.receipt, error=failed, is_uncertain=attempts.is_uncertain
        )

    # -- confirmation

    def _confirmed(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Waits for workers, if they are to confirm."""
        pending = {one.receipt.id: one.state for one in outcomes if one.status is OutcomeStatus.PENDING}
        if not pending:
            return list(outcomes)
        is_one_enough = self._strategy == "at_least_one"
        confirmations = Confirmations(
            self._app, pending, self._terms.confirm, self._until_s, is_one_enough=is_one_enough
        )
        confirmations.run()
        seen = confirmations.seen
        is_met = is_one_enough and any(one.is_reached for one in seen.values())
        return [
            self._seen(one, seen[one.receipt.id], is_met=is_met) if one.receipt.id in seen else one for one in outcomes
        ]

    def _seen(self, outcome: Outcome, seen: Seen, *, is_met: bool) -> Outcome:
        receipt, terms = outcome.receipt.id, self._terms
        error: Exception | None = None
        if seen.is_reached:
            status = OutcomeStatus.CONFIRMED
        elif seen.state is DeliveryStatus.DEAD:
            status, error = OutcomeStatus.DEAD, MessageDied(receipt, seen.reason or "unknown")
        elif is_met:
            status = OutcomeStatus.PENDING
        else:
            status, error = OutcomeStatus.LATE, ConfirmTimeout(receipt, terms.confirm, seen.state, terms.timeout_s)
            if seen.state is DeliveryStatus.UNKNOWN:
                error = ReceiptNotFound(receipt)
        return replace(outcome, status=status, state=seen.state, error=error)


def _told(why: Refusal, recipient: Recipient) -> str:
    if why is Refusal.NOT_A_QUEUE:
        return f"the key {recipient.queue!r} in Redis is no list"
    if recipient.kind == "worker":
        return (
            f"it does not live, or does not take from its direct queue {recipient.queue}: start it with "
            f"worker_direct = True, or: celery control add_consumer {recipient.queue} -d {recipient.name}"
        )
    return f"no live consumer takes from {recipient.queue}: none runs, it is paused, or its lease has run out"
