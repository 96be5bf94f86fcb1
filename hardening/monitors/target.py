"""What can be monitored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from celery.result import AsyncResult

from hardening.delivery.receipt import Receipt

__all__ = ["Target"]

#: What is said in front of a name, and what it is to Redis. An agent is the queue that is its mailbox.
_KINDS = {"worker": "worker", "queue": "queue", "agent": "queue", "task": "receipt", "receipt": "receipt"}
_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that can be monitored; made by one of the methods below.

    Attributes:
        kind: ``worker``, ``node`` (a worker by its name at its host), ``queue`` or ``receipt``.
        name: which one.
    """

    kind: str
    name: str

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > _LONGEST or not self.name.isprintable():
            raise ValueError(f"cannot monitor {self.kind} {self.name!r}: expected 1 to {_LONGEST} printable characters")

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def worker(cls, name: str) -> Self:
        """A worker process, by the name that Celery gives it (``name@host``) or its consumer's.

        By its name it is the process that has it now, not one that is started under the same name later. Down when it
        has left, or was silent for a whole lease.
        """
        return cls("node" if "@" in name else "worker", name)

    @classmethod
    def queue(cls, name: str) -> Self:
        """A queue. Down when no living consumer takes from it."""
        return cls("queue", name)

    @classmethod
    def agent(cls, name: str) -> Self:
        """An agent, by its name: its mailbox is the queue ``agent.<name>``. Down as that is."""
        return cls("queue", f"agent.{name}")

    @classmethod
    def task(cls, sent: Receipt | AsyncResult | str) -> Self:  # type: ignore[type-arg]
        """A supervised message, by its receipt, its result or its id. Down when its task has come to its end.

        A task that is retried has not. What was sent by a plain ``delay()`` has no receipt: it is ``unknown`` at once.
        """
        return cls("receipt", str(sent) if isinstance(sent, str) else str(sent.id))

    @classmethod
    def of(cls, what: Target | Receipt | AsyncResult | str) -> Target:  # type: ignore[type-arg]
        """A target from whatever names one: a receipt, a result, ``name@host``, or ``kind:name``.

        Raises:
            ValueError: it names none.
        """
        if isinstance(what, Target):
            return what
        if isinstance(what, (Receipt, AsyncResult)):
            return cls.task(what)
        if not isinstance(what, str):
            raise ValueError(f"cannot monitor {what!r}: expected a Target, a Receipt, or text such as 'queue:mail'")
        return cls._named(what)

    @classmethod
    @lru_cache(maxsize=1024)
    def _named(cls, what: str) -> Target:
        kind, _, name = what.partition(":")
        if kind in _KINDS and name:
            return getattr(cls, "task" if kind == "receipt" else kind)(name)  # type: ignore[no-any-return]
        if "@" in what:
            return cls.worker(what)
        known = ", ".join(f"{one}:NAME" for one in _KINDS)
        raise ValueError(f"cannot monitor {what!r}: expected name@host or one of {known}")
