"""The messages of one broadcast: as many copies of one message as there are recipients.

All of them are made before the first is published, so that whatever is wrong with one is raised while none is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from celery.result import EagerResult
from kombu import Exchange, Queue

from hardening.core import raw as raw_message
from hardening.core.errors import ConfigError
from hardening.delivery.draft import Draft
from hardening.delivery.outgoing import Outgoing, fields_of, name_of
from hardening.delivery.publication import Publication
from hardening.delivery.receipt import Receipt, ran_here
from hardening.delivery.shortcut import is_plain, is_uniform
from hardening.delivery.template import QueueUnknown, Template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celery import Celery
    from redis import Redis

    from hardening.delivery.outgoing import AnyTask
    from hardening.delivery.recipients import Recipient
    from hardening.delivery.terms import Terms

__all__ = ["Copies", "Copy"]


class _Kept(Draft):
    """Keeps what Celery tells its monitors of a message until that is published."""

    def __init__(self, app: Celery, receipt: str, fields: dict[str, str]) -> None:
        super().__init__(app, receipt, fields)
        self.events: list[tuple[Any, dict[str, Any]]] = []

    def on_event(self, body: Any, options: dict[str, Any]) -> None:
        """Not yet."""
        self.events.append((body, options))


@dataclass(slots=True)
class Copy:
    """The message of one recipient.

    Attributes:
        recipient: whose it is.
        receipt: follows it; of a task that ran here, it knows the end.
        publication: the finished message; None: where it goes, only Redis knows, or it ran here.
        draft: of which it is made; None: of a template.
    """

    recipient: Recipient
    receipt: Receipt
    publication: Publication | None = None
    draft: _Kept | None = None

    def resolved(self, client: Redis) -> Publication:
        """The message with where it goes.

        Raises:
            ConfigError: it goes to no queue, to several, or to another than the recipient's.
        """
        if self.publication is None and self.draft is not None and self.draft.payload:
            self.publication = self.draft.resolved(client)
        publication = self.publication
        if publication is None or publication.queue != self.recipient.queue:
            where = f"queue {publication.queue}" if publication else "nowhere"
            raise ConfigError(
                f"the message for {self.recipient} goes to {where}: its route has an exchange and a routing key of "
                "its own, or its apply_async() publishes nothing"
            )
        return publication

    def tell(self, timeout_s: float) -> None:
        """Sends the events that tell Celery's monitors of the message, now that it is published."""
        for body, options in self.draft.events if self.draft else ():
            with self.receipt.app.producer_pool.acquire(block=True, timeout=timeout_s) as producer:
                producer.publish(body, **options)


class Copies:
    """Makes the messages of one broadcast.

    Args:
        task: what is sent.
        app: who sends.
        terms: what is asked of each.
        options: of the publication, for all of them.
    """

    def __init__(self, task: AnyTask, app: Celery, terms: Terms, options: Mapping[str, Any]) -> None:
        self._task = task
        self._app: Any = app
        self._terms = terms
        self._options = options
        self._fields = fields_of(name_of(task), app)

    def made(
        self, recipients: Sequence[Recipient], args: Sequence[Any], kwargs: Mapping[str, Any] | None
    ) -> list[Copy]:
        """One message for each recipient.

        Raises:
            TypeError: the task does not take these arguments.
            kombu.exceptions.EncodeError: they are not JSON.
            celery.exceptions.QueueNotFound: a queue is not declared where it must be.
        """
        positional, named, plain = tuple(args), dict(kwargs or {}), self._plain()
        made = []
        for recipient in recipients:
            queue = self._queue_of(recipient)
            if plain is not None and isinstance(queue, Queue):
                made.append(plain.copy(recipient, positional, named))
            else:
                made.append(self._one(recipient, queue, positional, named))
        return made

    def _plain(self) -> _Plain | None:
        """What makes copies at a tenth of the price, where that makes no difference."""
        if not (is_plain(self._task, self._app, self._options) and is_uniform(self._task, self._app)):
            return None
        try:
            return _Plain(self._task, self._app, self._options, self._fields)
        except QueueUnknown:
            return None

    def _queue_of(self, recipient: Recipient) -> Queue | str:
        """Of a recipient whose queue nobody declared, a queue that Celery need not remember for ever."""
        name, conf = recipient.queue, self._app.conf
        if name in self._app.amqp.queues:
            return name
        is_celerys = recipient.kind == "queue" and not conf.task_create_missing_queues
        if is_celerys or conf.task_create_missing_queue_exchange_type:
            return name
        return _direct(name)

    def _one(self, recipient: Recipient, queue: Queue | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Copy:
        """Has Celery make it; or run the task, with ``task_always_eager``."""
        options = {**self._options, "queue": queue}
        outgoing = Outgoing(self._task, self._terms, app=self._app, options=options, once=(None, None))
        draft = _Kept(self._app, outgoing.receipt.id, outgoing.fields)
        sent = outgoing.send(args, kwargs, draft)
        if isinstance(sent, EagerResult):
            return Copy(recipient, ran_here(outgoing.receipt, sent, {**outgoing.fields, "queue": recipient.queue}))
        return Copy(recipient, outgoing.receipt, draft.publication, draft)


class _Plain:
    """Copies of a plain message, cut from one template in which a random name stands for the queue.

    Raises:
        QueueUnknown: where they go, only Redis knows.
    """

    def __init__(self, task: Any, app: Celery, options: Mapping[str, Any], fields: dict[str, str]) -> None:
        self._app = app
        self._fields = fields
        self._mark = raw_message.new_id()
        self._template = Template(task, {**options, "queue": _direct(self._mark)}, fields)

    def copy(self, recipient: Recipient, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Copy:
        receipt, raw = self._template.message(args, kwargs)
        sample, queue = self._template.publication, recipient.queue
        publication = Publication(
            sample.list_key.replace(self._mark, queue), queue,
            raw.replace(self._mark.encode(), encode_basestring_ascii(queue)[1:-1].encode()), sample.due_ms,
            {**self._fields, "task_id": receipt, "queue": queue},
        )  # fmt: skip
        return Copy(recipient, Receipt(receipt, self._app), publication)


def _direct(name: str) -> Queue:
    return Queue(name, Exchange(name, "direct"), name)
