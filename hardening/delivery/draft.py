"""The producer behind a supervised send: Celery builds the message, and this keeps it.

It stands in for kombu's ``Producer`` in ``app.send_task``, so routing, options, canvas and signals are Celery's
own; only what happens to the finished message is different, and that is for whoever derives from it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kombu.common import maybe_declare
from kombu.compression import compress
from kombu.entity import Exchange, Queue
from kombu.serialization import dumps
from kombu.transport.virtual.exchange import STANDARD_EXCHANGE_TYPES

from hardening.core import payload as payloads
from hardening.core import raw as raw_message
from hardening.core.deployment import channel_of
from hardening.core.errors import ConfigError
from hardening.core.keys import list_of
from hardening.delivery.publication import Publication

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celery import Celery
    from redis import Redis

__all__ = ["Draft"]

_CODEC = "base64"
#: What Celery tells kombu's producer, and no property of the message.
_FOR_KOMBU = frozenset({"retry", "retry_policy", "timeout", "confirm_timeout", "mandatory", "immediate"})


class Draft:
    """The one message of one supervised send, as Celery makes it.

    Args:
        app: the sending app.
        receipt: the receipt's id.
        fields: what the receipt says besides its state.

    Attributes:
        payload: the finished message, for kombu; empty: there is none yet.
        publication: the same with where it goes; None: that is not known yet.
    """

    def __init__(self, app: Celery, receipt: str, fields: dict[str, str]) -> None:
        self.app = app
        self.receipt = receipt
        self.fields = fields
        self.payload: payloads.Payload = {}
        self.publication: Publication | None = None
        self._declare: Sequence[Any] = ()

    @property
    def connection(self) -> Draft:
        """Celery asks its producer's connection to translate errors; ours need none."""
        return self

    @contextmanager
    def _reraise_as_library_errors(self) -> Iterator[None]:
        yield

    def publish(self, body: Any, **options: Any) -> None:
        """What ``app.send_task`` calls with the finished message, and with the event that tells of it.

        Raises:
            ConfigError: the message is of the old protocol.
        """
        if isinstance(body, dict) and "taskset" in body:
            raise ConfigError("task_protocol is 1, expected 2: a receipt needs what stands in the headers")
        if "task" in options["headers"]:
            self._take_down(body, **options)
            self.on_message()
        else:
            self.on_event(body, options)

    def take(self, publication: Publication) -> None:
        """Takes a message that was finished without Celery, and is published as if Celery had."""
        self.publication = publication
        self.on_message()

    def on_message(self) -> None:
        """The message is finished, and Celery waits until it is published."""

    def on_event(self, body: Any, options: dict[str, Any]) -> None:
        """Celery tells its monitors of the message, which it takes for published."""

    def resolved(self, client: Redis) -> Publication:
        """The message with where it goes, for which Redis may have to be asked.

        Raises:
            ConfigError: it goes to no queue, or to several.
        """
        if self.publication is None:
            self.publication = self._finished(self._queue_from(client, **self.payload["properties"]["delivery_info"]))
        return self.publication

    def resolved_here(self) -> Publication | None:
        """The same while Redis is away, by what this app declares alone; None: that leads to no queue, or to several.

        Whoever bound another queue to the exchange, elsewhere, is not known of here.
        """
        if self.publication is None and self.payload:
            bindings = self._bindings(**self.payload["properties"]["delivery_info"])
            if len(bindings) == 1:
                self.publication = self._finished(*bindings)
        return self.publication

    def _bindings(self, *, exchange: str, routing_key: str) -> set[str]:
        """The queues to which an exchange leads, as kombu would tell from the declarations of this app."""
        declared = [entity for entity in (*self._declare, *self.app.amqp.queues.values()) if isinstance(entity, Queue)]
        bound = [
            (queue.exchange.type, queue.routing_key or "", queue.name)
            for queue in declared
            if queue.exchange and queue.exchange.name == exchange
        ]
        kinds = {kind for kind, *_ in bound}
        if len(kinds) != 1 or not kinds <= STANDARD_EXCHANGE_TYPES.keys():
            return set()
        kind: Any = STANDARD_EXCHANGE_TYPES[kinds.pop()](None)
        table = [kind.prepare_bind(queue, exchange, key, None) for _, key, queue in bound]
        return set(kind.lookup(table, exchange, routing_key, None))

    def _take_down(
        self,
        body: Any,
        *,
        routing_key: str,
        exchange: Any = "",
        headers: dict[str, Any],
        priority: int | None = None,
        serializer: str = "json",
        compression: str | None = None,
        declare: Sequence[Any] | None = None,
        **properties: Any,
    ) -> None:
        headers[payloads.RECEIPT_HEADER] = self.receipt
        data: str | bytes
        content_type, encoding, data = dumps(body, serializer=serializer)
        if compression:
            data, headers["compression"] = compress(data, compression)
        name = exchange.name if isinstance(exchange, Exchange) else exchange
        self._declare = declare or ()
        self.payload = {
            "body": payloads.encode_body(data),
            "content-encoding": encoding,
            "content-type": content_type,
            "headers": headers,
            "properties": {
                **{key: value for key, value in properties.items() if key not in _FOR_KOMBU},
                "delivery_info": {"exchange": name, "routing_key": routing_key},
                "priority": priority or 0,
                "body_encoding": _CODEC,
                "delivery_tag": raw_message.new_id(),
            },
        }
        if not name:
            self.publication = self._finished(routing_key)

    def _finished(self, queue: str) -> Publication:
        properties = self.payload["properties"]
        raw = payloads.dump(self.payload, properties["delivery_tag"], self.receipt)
        list_key = list_of(queue, properties["priority"])
        return Publication(list_key, queue, raw, payloads.due_ms(self.payload), {**self.fields, "queue": queue})

    def _queue_from(self, client: Redis, *, exchange: str, routing_key: str) -> str:
        ours = [queue for queue in self.app.amqp.queues.values() if queue.exchange.name == exchange]
        with channel_of(self.app, client) as channel:
            for entity in (*self._declare, *ours):  # how an exchange routes is known only where it was declared
                maybe_declare(entity, channel)
            queues = list(channel._lookup(exchange, routing_key))
        if len(queues) != 1:
            raise ConfigError(
                f"exchange {exchange!r} with routing key {routing_key!r} leads to {len(queues)} queues: "
                "a supervised send goes to exactly one, name it with queue="
            )
        return str(queues[0])
