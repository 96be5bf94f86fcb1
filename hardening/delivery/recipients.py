"""Who gets a broadcast: queues, workers and agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from celery.utils.nodenames import WORKER_DIRECT_QUEUE_FORMAT

from hardening.core.agent_keys import mailbox_queue
from hardening.core.keys import PRIORITY_SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AnyRecipient", "Recipient", "agent", "queue", "recipients_of", "worker"]


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets one message of a broadcast.

    Attributes:
        kind: what it is.
        name: as the sender calls it.
        queue: where its message goes.
    """

    kind: Literal["queue", "worker", "agent"]
    name: str
    queue: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


#: What a sender may name: a plain name is that of a queue.
AnyRecipient = Recipient | str


def queue(name: str) -> Recipient:
    """Whoever takes from a queue next.

    Raises:
        ValueError: it is no name for a queue.
    """
    return Recipient("queue", name, _named(name, "queue"))


def worker(name: str) -> Recipient:
    """One worker, by its node name, such as ``mail@host1``.

    Its message goes to Celery's direct queue of that worker, from which it takes if it was started with
    ``worker_direct = True``, or was told to: ``celery control add_consumer mail@host1.dq2 -d mail@host1``. One that
    does not, or does not live, is refused by name, whatever the strategy.

    Raises:
        ValueError: it is no node name.
    """
    host = _named(name, "worker").partition("@")[2]
    if not host or name.startswith("@"):
        raise ValueError(f"worker is {name!r}, expected a node name such as 'mail@host1': see `celery status`")
    return Recipient("worker", name, WORKER_DIRECT_QUEUE_FORMAT.format(hostname=name))


def agent(name: str) -> Recipient:
    """An agent, whose messages wait in the queue ``agent.<name>``.

    Raises:
        ValueError: it is no name for an agent.
    """
    return Recipient("agent", name, mailbox_queue(_named(name, "agent")))


def recipients_of(given: Iterable[AnyRecipient]) -> list[Recipient]:
    """The recipients of a broadcast, in order. Of those who share a queue the first alone: one queue, one message.

    Raises:
        ValueError: there are none, or one of them makes no sense.
        TypeError: it is no list of recipients.
    """
    if isinstance(given, str | Recipient):
        raise TypeError(f"recipients is {given!r}, expected several, such as ['emails', worker('mail@host1')]")
    by_queue: dict[str, Recipient] = {}
    for one in given:
        recipient = _recipient(one)
        by_queue.setdefault(recipient.queue, recipient)
    if not by_queue:
        raise ValueError("recipients is empty, expected at least one")
    return list(by_queue.values())


def _recipient(one: AnyRecipient) -> Recipient:
    if isinstance(one, Recipient):
        return one
    if isinstance(one, str):
        return queue(one)
    raise TypeError(f"a recipient is {one!r}, expected the name of a queue, or queue(), worker() or agent()")


def _named(name: str, kind: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{kind} is {name!r}, expected a name")
    if not name.strip() or PRIORITY_SEPARATOR in name:
        raise ValueError(f"{kind} is {name!r}, expected a name")
    return name
