"""Acknowledgement as kombu calls it, carried out by the book."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from dlq import events
from hardening.core import telemetry
from hardening.core.scripts import Death

if TYPE_CHECKING:
    from hardening.transport.held import Held

__all__ = ["HeldMessage", "QoS", "tell_burial"]


class HeldMessage(virtual.Message):
    """A message that knows how it is held, and why it is dying, if it is.

    Attributes:
        held: how this process holds it; None for broadcasts and other messages outside the ledger.
        death: set before it is acknowledged or rejected: it is then buried instead.
        crashed: set with :attr:`death` when its process died: it is then charged, not buried at once.
        buried: whether settling it put it into the dead-letter queue.
    """

    held: Held | None = None
    death: Death | None = None
    crashed: bool = False
    buried: bool = False


def tell_burial(message: HeldMessage, death: Death) -> None:
    """Tells of a message that this process buried, or dropped because its task wants no dead letters."""
    held, headers = message.held, message.headers
    if held is None:
        return
    task = str(headers.get("task", "")) if isinstance(headers, dict) else ""
    about = {"message": held.message_id, "task": task, "queue": held.queue}
    if death.is_kept:
        telemetry.emit(telemetry.MessageBuried(**about, reason=death.reason, error=death.error, raw=held.raw))
    else:
        telemetry.emit(events.MessageDropped(**about, reason=death.reason, error=death.error))


class QoS(kombu_redis.QoS):
    """kombu's prefetch accounting over the book; nothing here talks to Redis by itself."""

    restore_at_shutdown = False

    def append(self, message: HeldMessage, delivery_tag: str) -> None:
        """Remembers a message that is being delivered."""
        virtual.QoS.append(self, message, delivery_tag)

    def credit(self) -> int:
        """How many more messages may be taken."""
        most: int = self.channel.settings.max_take
        if not self.can_consume():
            return 0
        if "can_consume" in self.__dict__:  # worker_disable_prefetch puts its own rule there
            return 1
        return min(most, self.prefetch_count - self.channel.book.size) if self.prefetch_count else most

    def can_consume(self) -> bool:
        """Whether the prefetch count leaves room."""
        book = self.channel.book
        held = book.size if book else 0
        return not self.prefetch_count or held < self.prefetch_count

    def ack(self, delivery_tag: str) -> None:
        """Settles a message; buries it when it carries its death."""
        message = self._delivered.get(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)
        if message is None or message.held is None:
            return
        if message.death is None:
            self.channel.book.ack(message.held)
        else:
            self._bury(message, message.death)

    def forget(self, delivery_tag: str) -> None:
        """Frees what is remembered of a message that was taken away."""
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Gives a message back, charges it, or buries it."""
        message = self._delivered.get(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)
        if message is None or message.held is None:
            return
        book = self.channel.book
        if requeue and message.crashed and message.death:
            message.buried = book.crash(message.held, message.death)
            if message.buried:
                tell_burial(message, message.death)
        elif requeue:
            book.release([message.held], why="requeued")
        else:
            self._bury(message, message.death or Death("rejected", "rejected without requeue"))

    def _bury(self, message: HeldMessage, death: Death) -> None:
        self.channel.book.bury(message.held, death)
        message.buried = True
        tell_burial(message, death)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Nothing: the book gives back what is held when its owner leaves."""
        self._on_collect.cancel()

    def restore_unacked(self, client: Any = None) -> None:
        """Gives back everything that was delivered and not settled (``basic.recover``)."""
        self._flush()
        held = [message.held for message in self._delivered.values() if message.held is not None]
        self._delivered.clear()
        self.channel.book.release(held, why="requeued")

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Nothing: recovery goes by leases, not by age."""
