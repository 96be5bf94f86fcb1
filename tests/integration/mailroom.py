"""A stage with a mailbox, and what is told of it in short names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardening.core.agent_keys import MAILBOX_HEAD
from hardening.core.scripts import Once, Taken, broadcasting, mailing
from hardening.core.scripts.mailing import Bound, Halt, Told
from tests.integration.stage import RECEIPT_FIELDS, Stage, short

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["Mailroom", "names"]


class Mailroom(Stage):
    """A deployment whose queues have names that mailboxes have; ``q`` is one."""

    def __init__(self, client: Redis, prefix: str) -> None:
        super().__init__(client, prefix)
        self.run(mailing.found(self.keys, self.agent, 0))

    @property
    def agent(self) -> str:
        """The agent whose mailbox ``q`` is."""
        return f"{self.prefix}.q"

    def list_key(self, queue: str = "q", step: int = 0) -> str:
        """The list of a queue at a priority step."""
        return MAILBOX_HEAD + super().list_key(queue, step)

    def host(self, *consumers: str) -> None:
        """Takes leases, and consumes from the mailbox."""
        self.join(*consumers)
        for consumer in consumers:
            self.run(broadcasting.consume(self.keys, consumer, [self.list_key()]))

    def box(self) -> dict[str, str]:
        """The mailbox."""
        fields = self.client.hgetall(self.keys.mailbox(self.list_key()))
        return {name.decode(): value.decode() for name, value in fields.items()}

    def set(self, **fields: object) -> None:
        """Sets fields of the mailbox."""
        self.client.hset(self.keys.mailbox(self.list_key()), mapping=fields)

    def is_rung(self) -> bool:
        """Whether its bell has rung."""
        return bool(self.client.exists(self.keys.bell(self.list_key())))

    def waiting(self) -> list[str]:
        """The names of what waits, the foremost first."""
        raws = [raw for step in (0, 3, 6, 9) for raw in self.client.lrange(self.list_key("q", step), 0, -1)[::-1]]
        return [short(raw[15:51]) for raw in raws]

    def halt(self, why: Halt | None) -> int:
        """Halts the mailbox, or lets it go on."""
        return int(self.run(mailing.halt(self.keys, self.agent, why)))

    def tell(
        self, name: str, *, step: int = 0, due_ms: int = 0, once: Once | None = None, bound: Bound | None = None
    ) -> Told:
        """Tells the agent something."""
        call = mailing.tell(
            self.scope, self.list_key("q", step), self.list_key(), self.raw(name, f"r-{name}"),
            bound or Bound(0), due_ms=due_ms, receipt=RECEIPT_FIELDS, once=once,
        )  # fmt: skip
        return Told.parse(self.run(call))


def names(taken: Taken) -> list[str]:
    """The names of what was taken, in order."""
    return [short(message.raw[15:51]) for message in taken.messages]
