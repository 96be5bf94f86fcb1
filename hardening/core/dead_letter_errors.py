"""The branch of :mod:`hardening.core.errors` that is about the dead-letter queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardening.core.root_error import HardeningError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DeadLetterError",
    "DlqUnknown",
    "EntryNotFound",
    "FileRefused",
    "QueueFull",
    "QueueUnknown",
    "RewriteRefused",
]


class DeadLetterError(HardeningError):
    """Something about the dead-letter queue."""


class EntryNotFound(DeadLetterError):
    """No such entry.

    Attributes:
        entry_id: the id that was asked for.
    """

    def __init__(self, entry_id: str) -> None:
        self.entry_id = entry_id
        super().__init__(f"no dead letter {entry_id}: replayed, purged or never there")


class RewriteRefused(DeadLetterError):
    """A dead message cannot be changed as asked; it stays as it is.

    Attributes:
        entry_id: whose message.
    """

    def __init__(self, entry_id: str, why: str) -> None:
        self.entry_id = entry_id
        super().__init__(f"dead letter {entry_id} cannot be changed: {why}")


class QueueUnknown(DeadLetterError):
    """Nobody has ever heard of the queue.

    Attributes:
        queue: its name.
    """

    def __init__(self, queue: str, near: str | None = None) -> None:
        self.queue = queue
        hint = f"did you mean {near!r}?" if near else "name one that a producer or a worker of this app uses"
        super().__init__(f"nobody has ever heard of the queue {queue!r}: {hint}")


class DlqUnknown(DeadLetterError):
    """No task of the app has such a ``dead_letter``.

    Attributes:
        dlq: the name.
    """

    def __init__(self, dlq: str, known: Sequence[str]) -> None:
        self.dlq = dlq
        hint = f"known are: {', '.join(known)}" if known else "no task of this app names one"
        super().__init__(f"no task has dead_letter={dlq!r}: {hint}")


class QueueFull(DeadLetterError):
    """A replay stopped: its queue has grown to the bound given. What was replayed before stays replayed.

    Attributes:
        queue: which.
        depth: how many messages wait there.
        replayed: how many were replayed until then.
        next_id: the dead letter at which it stopped.
        dry_run: nothing was moved, and it would have been so.
    """

    def __init__(self, queue: str, *, depth: int, replayed: int, next_id: str, dry_run: bool = False) -> None:
        self.queue = queue
        self.depth = depth
        self.replayed = replayed
        self.next_id = next_id
        self.dry_run = dry_run
        would, holds, again = (
            ("would stop", "would hold", "") if dry_run else ("stopped", "holds", "; go on when it has drained")
        )
        super().__init__(
            f"{would} at dead letter {next_id} after {replayed} replayed: "
            f"the queue {queue!r} {holds} {depth} messages{again}"
        )


class FileRefused(DeadLetterError):
    """An exported file cannot be imported.

    Attributes:
        line: the number of the line at fault.
    """

    def __init__(self, line: int, why: str) -> None:
        self.line = line
        super().__init__(f"line {line} cannot be imported: {why}")
