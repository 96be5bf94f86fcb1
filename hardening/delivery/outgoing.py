"""One supervised send before it is published: what is the same whoever publishes it, and however."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Signature, Task, current_app

from hardening.core import raw as raw_message
from hardening.core.deployment import settings_of
from hardening.core.errors import BreakerOpen, PublishFailed, SpoolError, SpoolFull
from hardening.core.membership import boot_clock_s
from hardening.delivery.attempts import TRANSIENT
from hardening.delivery.fallback import fallback_of
from hardening.delivery.idempotency import once_fields
from hardening.delivery.receipt import Receipt
from hardening.delivery.replication import Replication
from hardening.delivery.shortcut import is_plain, send_plain
from hardening.delivery.templates import template_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from celery import Celery

    from hardening.delivery.attempts import Attempts
    from hardening.delivery.draft import Draft
    from hardening.delivery.terms import Terms

__all__ = ["AnyTask", "Outgoing", "name_of", "owner_of"]

AnyTask = Task[Any, Any] | Signature[Any] | str

#: What Celery sends as more than one message, or as one that is not known beforehand.
_CANVAS = frozenset({"celery.chain", "celery.chord", "celery.chunks", "celery.group"})


def name_of(task: AnyTask) -> str:
    """The name of a task.

    Raises:
        ValueError: it is several tasks, or none that is known beforehand.
    """
    name = task if isinstance(task, str) else str(task.task if isinstance(task, Signature) else task.name)
    if name in _CANVAS:
        raise ValueError(f"task is a {name}, expected one task: a receipt follows one message")
    return name


def owner_of(task: AnyTask, app: Celery | None) -> Celery:
    """The app that sends a task."""
    owner: Celery = app or (task.app if isinstance(task, Task | Signature) else None) or current_app
    return owner


class Outgoing:
    """One send.

    Args:
        task: what is sent.
        terms: what is asked of the send.
        app: who sends; None: the task's app, or the current one.
        options: as for ``apply_async``.
        once: the idempotency key and its window, as the sender has them.

    Attributes:
        app: who sends.
        name: of the task.
        receipt: of the message.
        fields: what the receipt says besides its state.
        fallback: of the app.
        until_s: when its time is up, by the boot clock, in seconds.

    Raises:
        ConfigError: the app is not hardened.
        ValueError: something that makes no sense.
    """

    def __init__(
        self,
        task: AnyTask,
        terms: Terms,
        *,
        app: Celery | None,
        options: dict[str, Any],
        once: tuple[str | None, float | timedelta | None],
    ) -> None:
        self.until_s = boot_clock_s() + terms.timeout_s
        self.name = name_of(task)
        self.app = owner_of(task, app)
        self.terms = terms
        self.receipt = Receipt(raw_message.new_id(), self.app)
        self.fallback = fallback_of(self.app)
        self._task = task
        self._options = options
        options.setdefault("task_id", self.receipt.id)
        self.fields = {
            **fields_of(self.name, self.app),
            "task_id": options["task_id"],
            **once_fields(*once, settings_of(self.app).idempotency_window_s),
        }

    @property
    def left_s(self) -> float:
        """How much of the time is left, in seconds."""
        return max(0.0, self.until_s - boot_clock_s())

    @property
    def replication(self) -> Replication | None:
        """What is asked of replicas, if anything is."""
        terms = self.terms
        if not terms.is_replicated:
            return None
        return Replication(terms.replicas, terms.on_disk, self.until_s, settings_of(self.app).keys)

    @property
    def runs_here(self) -> bool:
        """Whether what is raised is raised by the task itself."""
        by_name = isinstance(self._task, str)
        return bool(self.app.conf.task_always_eager) and not by_name and self.name in self.app.tasks

    def send(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None, draft: Draft) -> object:
        """Has Celery make the message and hand it to a draft; or run the task, with ``task_always_eager``."""
        positional, named, task = tuple(args), dict(kwargs or {}), self._task
        if is_plain(task, self.app, self._options):
            is_own = self._options["task_id"] == self.receipt.id
            template = template_for(task, self.app, self._options, self.fields) if is_own else None
            if template is None:
                return send_plain(task, positional, named, self._options, draft)
            _, raw = template.message(positional, named, self.receipt.id)
            draft.take(template.publication.with_message(raw, self.fields))
            return None
        if isinstance(task, str):
            return self.app.send_task(task, positional, named, producer=draft, **self._options)
        return task.apply_async(positional, named, producer=draft, **self._options)

    def keep(self, draft: Draft, attempts: Attempts, away: BaseException) -> Receipt | None:
        """Spools the message, if that was asked for, Redis is away and it is known where it goes.

        The publication may have succeeded without our knowing: its receipt makes the flush a repeat.

        Returns:
            The receipt that follows it; None: it is not spooled, and that is for :meth:`failed`.

        Raises:
            SpoolFull: there is no room.
            PublishFailed: the spool cannot be written, or where the message goes only Redis knows: this app declares no
                queue, or several, to which its exchange leads.
        """
        if self.terms.on_error != "dead_letter" or not isinstance(away, (BreakerOpen, *TRANSIENT)):
            return None
        publication = draft.resolved_here()
        if publication is None:
            raise PublishFailed(self.receipt.id, self.name, attempts.count, away, spool=_unroutable(draft)) from away
        why = f"{type(away).__name__}: {away}"
        try:
            kept = self.fallback.keep(publication, is_uncertain=attempts.is_uncertain, why=why)
        except SpoolFull as full:
            raise full from away
        except SpoolError as error:
            raise PublishFailed(self.receipt.id, self.name, attempts.count, away, spool=error) from error
        return Receipt(kept, self.app)

    def failed(self, attempts: Attempts, away: BaseException) -> Receipt:
        """Nothing safe has the message: that is told as was asked.

        Raises:
            PublishFailed: with ``on_error`` ``raise`` or ``dead_letter``.
        """
        self.terms.undelivered(PublishFailed(self.receipt.id, self.name, attempts.count, away), away)
        return self.receipt


def _unroutable(draft: Draft) -> LookupError:
    exchange = draft.payload["properties"]["delivery_info"]["exchange"] if draft.payload else ""
    return LookupError(
        f"where the exchange {exchange!r} leads only Redis knows: this app declares no queue, or several, "
        "(task_queues) to which it leads with this routing key; what goes to exactly one is spooled"
    )


def fields_of(name: str, app: Celery) -> dict[str, str]:
    """What every receipt of a task says."""
    known = app.tasks.get(name)
    once = known is not None and not known.acks_late
    return {"task": name, "guarantee": "at_most_once" if once else "at_least_once"}
