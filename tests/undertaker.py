"""Makes dead letters as a worker would, without a worker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hardening.core.deployment import client_of, scope_of, settings_of
from hardening.core.ledger import read_ledger
from hardening.core.scripts import Call, Death, Taken, TakenMessage
from hardening.core.scripts.calls import renew

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.ledger import Ledger

__all__ = ["STEP_6", "Undertaker"]

#: The list of a queue's priority step 6.
STEP_6 = "\x06\x166"
_FAILED = Death("failed", "ValueError: no")
_UNDECODABLE = Death("undecodable", "JSONDecodeError: what is this")


class Undertaker:
    """A consumer that takes messages only to bury them. The ledger is checked after each of its steps.

    Args:
        app: a hardened app of the test's own.
        consumer: the name of its lease.
    """

    def __init__(self, app: Celery, consumer: str = "undertaker") -> None:
        self.app = app
        self.consumer = consumer
        self.client = client_of(app)
        self.keys = settings_of(app).keys
        self.scope = scope_of(app, consumer)
        self.queue: str = app.conf.task_default_queue

    def lease(self, ttl_ms: int = 60_000, about: object = None) -> None:
        """Takes the lease, or renews it."""
        said = json.dumps(about if about is not None else {"host": "morgue", "pid": 13})
        renew(self.keys, self.consumer, ttl_ms, join=True, about=said).run(self.client)

    def take(self, limit: int = 1000) -> list[TakenMessage]:
        """Takes what waits in the app's queue, at priority steps 0 and 6."""
        self.lease()
        lists = [self.queue, f"{self.queue}{STEP_6}"]
        reply = self.scope.take(self.consumer, lists, limit).run(self.client)
        self.check()
        return Taken.parse(reply, lists).messages

    def begin(self, taken: list[TakenMessage]) -> None:
        """Marks messages as begun."""
        self.scope.ack(self.consumer, [], [f"{message.seq}+" for message in taken]).run(self.client)

    def ack(self, taken: list[TakenMessage]) -> None:
        """Settles messages."""
        self.scope.ack(self.consumer, [f"{message.seq}+" for message in taken]).run(self.client)
        self.check()

    def bury(self, taken: list[TakenMessage], death: Death) -> list[str]:
        """Buries messages in flight. Returns the ids of their entries."""
        pipeline: Any = self.client.pipeline(transaction=False)
        for message in taken:
            call: Call = self.scope.bury(self.consumer, message.seq, death)
            pipeline.execute_command(*call.full_command)
        assert pipeline.execute() == [1] * len(taken)
        newest: Any = self.client.xrevrange(self.keys.dlq, count=len(taken))
        self.check()
        return [entry_id.decode() for entry_id, _ in reversed(newest)]

    def dead_letter(self, task: str = "shop.charge", death: Death = _FAILED, **send: Any) -> str:
        """Sends one task and buries its message. Returns the id of its entry."""
        self.app.send_task(task, **send)
        return self.bury(self.take(), death)[0]

    def dead_letters(self, count: int, task: str = "shop.charge", death: Death = _FAILED) -> list[str]:
        """Sends a task several times and buries all messages. Returns the ids of their entries."""
        for number in range(count):
            self.app.send_task(task, (number,))
        return self.bury(self.take(count), death)

    def dead_raw(self, raw: bytes, death: Death = _UNDECODABLE) -> str:
        """Buries what a stranger put into the queue. Returns the id of its entry."""
        self.client.lpush(self.queue, raw)
        return self.bury(self.take(), death)[0]

    def check(self) -> Ledger:
        """The ledger, which must balance."""
        ledger = read_ledger(self.client, self.keys)
        assert ledger.is_balanced, ledger
        return ledger
