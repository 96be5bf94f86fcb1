"""kombu's Redis channel, with publishing and consuming replaced.

Of kombu 5.7's private members this overrides or uses those that ``tests/unit/test_kombu_contract.py`` names.
"""

from __future__ import annotations

from functools import cached_property
from queue import Empty
from typing import TYPE_CHECKING, Any

from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError

from hardening.core import payload as payloads
from hardening.core.scripts import Scope, Taken
from hardening.core.settings import Settings
from hardening.transport import books
from hardening.transport.intake import Intake
from hardening.transport.qos import HeldMessage, QoS
from hardening.transport.stock import CLIENT_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from hardening.transport.book import Book
    from hardening.transport.held import Held

__all__ = ["HardeningChannel", "SentinelChannel", "TakingChannel"]

_PURGE_BATCH = 1000


class TakingChannel(kombu_redis.Channel):
    """What both channels share. The loop's thread runs it; see :class:`Book` for what others may do."""

    QoS = QoS
    Message = HeldMessage
    client_name = CLIENT_NAME
    supports_batch_publish = False
    from_transport_options = (*kombu_redis.Channel.from_transport_options, "hardening", "on_buried")

    #: The settings, as ``harden(app)`` put them into the transport options.
    hardening: dict[str, Any] = {}  # noqa: RUF012 - kombu sets it on the instance
    #: Told the raw bytes of what a sweep of this process buried.
    on_buried: Callable[[bytes], None] = staticmethod(lambda _: None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.book: Book | None = None
        self.intake: Intake | None = None
        super().__init__(*args, **kwargs)

    @cached_property
    def settings(self) -> Settings:
        """The deployment's settings."""
        return Settings.model_construct(**self.hardening) if self.hardening else Settings.model_construct()

    @cached_property
    def scope(self) -> Scope:
        """How this channel signs what it publishes."""
        return Scope(self.settings.keys, self.settings.receipt_ttl_ms, "")

    @cached_property
    def _broker(self) -> str:
        return str(self.connection.client.as_uri())

    @cached_property
    def _commands(self) -> Redis:
        return self._create_client()

    def _after_fork(self) -> None:
        self.__dict__.pop("_commands", None)
        super()._after_fork()

    # -- publishing

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        """Publishes one message in one script; what the ledger does not cover goes kombu's way."""
        if queue in self._expires or not payloads.is_tracked(message):
            super()._put(queue, message, **kwargs)
            return
        receipt = message["headers"].get(payloads.RECEIPT_HEADER)
        raw = payloads.dump(message, message["properties"]["delivery_tag"], receipt)
        list_key = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))
        self.scope.publish(list_key, queue, raw, due_ms=payloads.due_ms(message)).run(self._commands)

    # -- consuming

    def open_book(self) -> Book:
        """The book this channel writes in.

        Raises:
            redis.RedisError: the lease could not be taken.
        """
        if self.book is None:
            self.book = books.open_book(self._broker, self.settings, self._get_pool, self.on_buried)
        return self.book

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[[HeldMessage], Any], consumer_tag: str, **kwargs: Any
    ) -> Any:
        """Consumes from a queue; with acknowledgement, by taking."""
        result = super().basic_consume(queue, no_ack, callback, consumer_tag, **kwargs)
        if not no_ack and queue not in self._fanout_queues:
            intake = self._open_intake()
            intake.add(queue)
            self.connection._callbacks[queue] = self._receiver(callback, intake)
            self._update_queue_cycle()
        return result

    def _open_intake(self) -> Intake:
        if self.intake is None:
            self.intake = Intake(self, self.open_book())
        return self.intake

    @staticmethod
    def _receiver(callback: Callable[[HeldMessage], Any], intake: Intake) -> Callable[[Held], Any]:
        def receive(held: Held) -> Any:
            message = intake.open(held)
            return None if message is None else callback(message)

        return receive

    def _basic_cancel(self, consumer_tag: str) -> None:
        queue = self._tag_to_queue.get(consumer_tag)
        super()._basic_cancel(consumer_tag)
        if self.intake is not None and queue is not None:
            self.intake.remove(queue)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> HeldMessage | None:
        """Takes one message now, or None."""
        intake, book = self._open_intake(), self.open_book()
        lists = [self._q_for_pri(queue, step) for step in self.priority_steps]
        call, consumer = book.take_call(lists, 1)
        taken = Taken.parse(call.run(self._commands), lists)
        for held in book.admit(taken, consumer):
            message = intake.open(held)
            if message is not None and no_ack:
                message.ack()
            return message
        return None

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        message = self.basic_get(queue, no_ack=True)
        if message is None:
            raise Empty
        return message._raw

    @property
    def active_queues(self) -> list[str]:
        """Queues that kombu's own BRPOP serves: those consumed without acknowledgement."""
        taken = self.intake.queues if self.intake else ()
        return [queue for queue in super().active_queues if queue not in taken]

    def tick(self) -> None:
        """Called before every wait of the loop: settles, takes, listens.

        Raises:
            redis.ConnectionError: Redis is away; the owner is to reconnect.
        """
        if self.intake is not None:
            self.intake.tick()

    def check_overdue(self) -> None:
        """Notices a connection that swallows what is written to it.

        Raises:
            redis.ConnectionError: a reply is overdue.
        """
        if self.intake is not None and self.intake.waited_s > self.settings.socket_timeout_s:
            waited_s = self.intake.waited_s
            self.intake.hang_up()
            raise RedisConnectionError(f"Redis has not answered for {waited_s:.1f} s")

    # -- the rest

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Binds a queue; on a full Redis a worker may start all the same, if the binding is known already."""
        try:
            super()._queue_bind(exchange, routing_key, pattern, queue)
        except ResponseError as error:
            if "OOM" not in str(error) and not isinstance(error, OutOfMemoryError):
                raise
            is_fanout = self.typeof(exchange).type == "fanout"  # its messages do not go by the table
            if not is_fanout and queue not in {bound for *_, bound in self.get_table(exchange)}:
                raise

    def _size(self, queue: str) -> int:
        """How many messages wait; not in a transaction, which a full Redis refuses even to readers."""
        with self._commands.pipeline(transaction=False) as pipe:
            for step in self.priority_steps:
                pipe.llen(self._q_for_pri(queue, step))
            return sum(pipe.execute())

    def _purge(self, queue: str) -> int:
        purged = 0
        for step in self.priority_steps:
            call = self.scope.purge(self._q_for_pri(queue, step), _PURGE_BATCH)
            while batch := int(call.run(self._commands)):
                purged += batch
        return purged

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any) -> None:
        self._purge(queue)
        super()._delete(queue, exchange, routing_key, pattern, *args, **kwargs)

    def close(self) -> None:
        """Ends the channel: its book is kept for the next one, or everything held is given back."""
        was_open = not self.closed
        if was_open and self.intake is not None:
            self.intake.stop()
        super().close()
        if was_open and self.book is not None:  # requests that still run here go on settling through it
            books.put_back(self._broker, self.settings, self.book)


class HardeningChannel(TakingChannel):
    """The channel for one Redis."""


class SentinelChannel(TakingChannel, kombu_redis.SentinelChannel):
    """The channel for a Redis that Sentinels watch over."""

    from_transport_options = (
        *TakingChannel.from_transport_options, *kombu_redis.SentinelChannel.from_transport_options
    )  # fmt: skip
