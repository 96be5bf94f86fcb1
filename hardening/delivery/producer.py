"""The producer of one supervised send: what Celery finishes, one script publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardening.core.deployment import scope_of
from hardening.delivery.attempts import TRANSIENT, Attempts
from hardening.delivery.draft import Draft

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from hardening.delivery.replication import Replication


__all__ = ["TRANSIENT", "ReceiptProducer"]


class ReceiptProducer(Draft):
    """Publishes the one message of one supervised send.

    Args:
        app: the sending app.
        receipt: the receipt's id.
        fields: what the receipt says besides its state.
        attempts: how often, and for how long.
        replication: what is asked of replicas, if anything is.

    Attributes:
        attempts: likewise.
        replicas: how many of them have it.
        first: the receipt that has the idempotency key already, of which this would have been a repeat.
    """

    def __init__(
        self,
        app: Celery,
        receipt: str,
        fields: dict[str, str],
        attempts: Attempts,
        replication: Replication | None = None,
    ) -> None:
        super().__init__(app, receipt, fields)
        self.attempts = attempts
        self.first = ""
        self.replicas = 0
        self._replication = replication

    def on_message(self) -> None:
        """Publishes it."""
        reply = self.attempts.run(self.fields["task"], self._publish)
        self.first = reply.decode() if isinstance(reply, bytes) else ""

    def on_event(self, body: Any, options: dict[str, Any]) -> None:
        """Sends it as Celery would."""
        with self.app.producer_pool.acquire(block=True, timeout=self.attempts.timeout_s) as producer:
            producer.publish(body, **options)

    def _publish(self, client: Redis) -> Any:
        call = self.resolved(client).call(scope_of(self.app))
        if self._replication is None:
            return call.run(client)
        reply, self.replicas = self._replication.run(call, client)
        return reply
