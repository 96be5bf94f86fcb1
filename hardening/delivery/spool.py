"""Where messages are kept while Redis is away: a bounded file that survives the process and the power.

Guarantees: a message that :meth:`Spool.put` accepted is on the disk. The oldest are kept, the newest refused.
Several threads and processes of one host may use one spool; one at a time flushes it. Whoever finds a message
here finds it once: an id is in the file once, and leaves it only after Redis has it, or an operator purged it.

Does not guarantee: that a file of which a copy is used on another host is flushed once; a receipt still tells
its messages apart for as long as it is kept. The age of what is spooled goes by the host's clock: the only other
one is away.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardening.core.errors import SpoolError, SpoolFull
from hardening.delivery.publication import Publication
from hardening.delivery.spool_file import DIGEST, SpoolFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Spool", "SpoolTotals", "Spooled"]

#: What one batch may hold; a larger message is a batch of its own.
_BATCH, _BATCH_BYTES = 100, 4 * 2**20
_PAUSE_S = 0.05
_COLUMNS = "seq, list, queue, raw, due_ms, fields, size, spooled_ms, is_uncertain, attempts, error, is_refused"
#: Lock files open in this process: a child must not hold a lock that its parent took.
_LOCKS: set[int] = set()


@dataclass(frozen=True, slots=True)
class Spooled:
    """One message in the spool.

    Attributes:
        seq: its place in the line.
        publication: what is to be published; for lists without its raw message.
        size: how many bytes it counts for.
        spooled_ms: since when, by the host's clock, in ms since the epoch.
        is_uncertain: the sender's own attempt may have succeeded without its knowing.
        attempts: how often a flush of it failed.
        error: what the last one was told.
        is_refused: it is set aside: trying again changes nothing.
        receipt: the id of its receipt.
    """

    seq: int
    publication: Publication
    size: int
    spooled_ms: int
    is_uncertain: bool
    attempts: int
    error: str
    is_refused: bool
    receipt: str

    @property
    def age_s(self) -> float:
        """For how long it has been here, in seconds."""
        return _age_s(self.spooled_ms)


@dataclass(frozen=True, slots=True)
class SpoolTotals:
    """How much a spool holds.

    Attributes:
        waiting: messages that the next flush will publish.
        refused: messages set aside.
        foreign: messages for other brokers, which only apps of those flush.
        bytes: of all of them.
        oldest_s: for how long the first of those that wait has been here, in seconds; None: none waits.
    """

    waiting: int = 0
    refused: int = 0
    foreign: int = 0
    bytes: int = 0
    oldest_s: float | None = None


class Spool:
    """The messages of one broker in one file.

    Args:
        path: of the file; see :class:`~hardening.delivery.spool_file.SpoolFile`.
        broker: for which broker, without credentials; those of others in the same file are not touched.
        max_messages: the most the file keeps.
        max_bytes: likewise.
    """

    def __init__(self, path: Path, broker: str, *, max_messages: int, max_bytes: int) -> None:
        self._file = SpoolFile(path)
        self._broker = broker
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        digest = hashlib.sha256(broker.encode()).hexdigest()[:12]
        self._lock_path = path.with_name(f"{path.name}.{digest}.lock")

    @property
    def path(self) -> Path:
        """Of the file."""
        return self._file.path

    def identity(self) -> str:
        """The spool's own id, under which Redis remembers what is being flushed.

        Raises:
            SpoolError: as for every method here: with what is wrong with the file, and what to do.
        """
        with self._file.reading() as connection:
            return str(connection.execute("SELECT id FROM spool").fetchone()[0])

    def put(self, publication: Publication, *, is_uncertain: bool = False) -> str:
        """Keeps a message, durably; again, or with the idempotency key of one that waits, and nothing changes.

        Args:
            publication: what is to be published.
            is_uncertain: an attempt may have succeeded without the sender's knowing.

        Returns:
            The id of the receipt that follows it.

        Raises:
            SpoolFull: there is no room.
            SpoolError: the file cannot be written.
        """
        fields = json.dumps(dict(publication.fields))
        size = len(publication.raw) + len(fields) + len(publication.list_key.encode()) + len(publication.queue.encode())
        with self._file.writing() as connection:
            if _find(connection, publication.receipt, self._broker) is not None:
                return publication.receipt
            if publication.digest and (first := _first(connection, publication.digest, self._broker)):
                return first
            messages, size_of_all = connection.execute("SELECT messages, bytes FROM spool").fetchone()
            if messages >= self._max_messages or size_of_all + size > self._max_bytes:
                raise SpoolFull(str(self.path), messages, size_of_all, size)
            connection.execute(
                "INSERT INTO message"
                " (receipt, broker, list, queue, raw, due_ms, fields, size, spooled_ms, is_uncertain)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    publication.receipt, self._broker, publication.list_key, publication.queue, publication.raw,
                    publication.due_ms, fields, size, int(time.time() * 1000), is_uncertain,
                ),
            )  # fmt: skip
        return publication.receipt

    def find(self, receipt: str) -> Spooled | None:
        """The message of a receipt, if it is here."""
        if not self._file.exists:
            return None
        with self._file.reading() as connection:
            row = _find(connection, receipt, self._broker)
        return None if row is None else _spooled(row)

    def batch(self) -> list[Spooled]:
        """The oldest messages that wait: as many as are flushed together."""
        if not self._file.exists:
            return []
        with self._file.reading() as connection:
            sizes = connection.execute(
                "SELECT seq, size FROM message WHERE broker = ? AND is_refused = 0 ORDER BY seq LIMIT ?",
                (self._broker, _BATCH),
            )
            last, room = 0, _BATCH_BYTES
            for seq, size in sizes:
                room -= size
                if last and room < 0:
                    break
                last = seq
            rows = connection.execute(
                f"SELECT {_COLUMNS}, receipt FROM message"  # noqa: S608 - names of our own
                " WHERE broker = ? AND is_refused = 0 AND seq <= ? ORDER BY seq",
                (self._broker, last),
            ).fetchall()
        return [_spooled(row) for row in rows]

    def settle(
        self, done: Sequence[int], *, refused: Sequence[tuple[int, str]] = (), failed: tuple[int, str] | None = None
    ) -> None:
        """Forgets what Redis has, sets aside what it refuses, and notes what was told of the next one; at once."""
        told = [(error, 1, seq) for seq, error in refused]
        if failed is not None:
            told.append((failed[1], 0, failed[0]))
        if not done and not told:
            return
        with self._file.writing() as connection:
            connection.executemany("DELETE FROM message WHERE seq = ?", [(seq,) for seq in done])
            connection.executemany(
                "UPDATE message SET attempts = attempts + 1, error = ?, is_refused = ? WHERE seq = ?", told
            )

    def messages(self, limit: int | None = None, *, refused: bool = False) -> list[Spooled]:
        """What is here, oldest first, without raw messages; ``refused``: only what is set aside."""
        if not self._file.exists:
            return []
        columns = _COLUMNS.replace("raw,", "x'',")
        with self._file.reading() as connection:
            rows = connection.execute(
                f"SELECT {columns}, receipt FROM message"  # noqa: S608 - names of our own
                " WHERE broker = ? AND is_refused >= ? ORDER BY seq LIMIT ?",
                (self._broker, refused, -1 if limit is None else limit),
            ).fetchall()
        return [_spooled(row) for row in rows]

    def totals(self) -> SpoolTotals:
        """How much there is."""
        if not self._file.exists:
            return SpoolTotals()
        with self._file.reading() as connection:
            (size_of_all,) = connection.execute("SELECT bytes FROM spool").fetchone()
            counts = {(True, False): 0, (True, True): 0, (False, False): 0, (False, True): 0}
            for ours, refused, count in connection.execute(
                "SELECT broker = ?, is_refused, count(*) FROM message GROUP BY 1, 2", (self._broker,)
            ):
                counts[bool(ours), bool(refused)] = count
            oldest = connection.execute(
                "SELECT spooled_ms FROM message WHERE broker = ? AND is_refused = 0 ORDER BY seq LIMIT 1",
                (self._broker,),
            ).fetchone()
        foreign = counts[False, False] + counts[False, True]
        oldest_s = None if oldest is None else _age_s(oldest[0])
        return SpoolTotals(counts[True, False], counts[True, True], foreign, size_of_all, oldest_s)

    def retry_refused(self, receipts: Sequence[str] | None = None) -> int:
        """Puts what was set aside back into the line, at its old place. Returns how many.

        Args:
            receipts: which; default: all. What was doubtful about them is the operator's to answer for.
        """
        return self._change("UPDATE message SET is_refused = 0, is_uncertain = 0 WHERE is_refused = 1", receipts)

    def purge(self, receipts: Sequence[str] | None = None, *, refused: bool = False) -> int:
        """Deletes messages for good; all of them, or those named, or those set aside. Returns how many."""
        return self._change(f"DELETE FROM message WHERE is_refused >= {int(refused)}", receipts)  # noqa: S608

    def adopt(self) -> int:
        """Takes over the messages of other brokers: their Redis has moved to this one. Returns how many."""
        if not self._file.exists:
            return 0
        with self._file.writing() as connection:
            statement = "UPDATE message SET broker = ? WHERE broker != ?"
            return connection.execute(statement, (self._broker, self._broker)).rowcount

    def _change(self, statement: str, receipts: Sequence[str] | None) -> int:
        if not self._file.exists:
            return 0
        with self._file.writing() as connection:
            if receipts is None:
                return connection.execute(f"{statement} AND broker = ?", (self._broker,)).rowcount
            return sum(
                connection.execute(f"{statement} AND broker = ? AND receipt = ?", (self._broker, receipt)).rowcount
                for receipt in dict.fromkeys(receipts)
            )

    @contextmanager
    def flushing(self, patience_s: float = 0.0) -> Iterator[bool]:
        """Whether this block is the only one, in all processes, that takes messages out of the spool.

        The lock is the kernel's: it goes with the process that holds it, however that ends.

        Args:
            patience_s: how long to wait for another, in seconds.
        """
        try:
            descriptor = os.open(self._lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolError(str(self.path), f"cannot be locked: {error}") from error
        _LOCKS.add(descriptor)
        try:
            yield _locked(descriptor, patience_s)
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            _LOCKS.discard(descriptor)
            os.close(descriptor)


def _age_s(spooled_ms: int) -> float:
    return max(0.0, time.time() - spooled_ms / 1000)


def _spooled(row: tuple[Any, ...]) -> Spooled:
    seq, list_key, queue, raw, due_ms, fields, size, spooled_ms, uncertain, attempts, error, refused, receipt = row
    publication = Publication(list_key, queue, raw, due_ms, json.loads(fields))
    return Spooled(seq, publication, size, spooled_ms, bool(uncertain), attempts, error, bool(refused), receipt)


def _find(connection: sqlite3.Connection, receipt: str, broker: str) -> tuple[Any, ...] | None:
    statement = f"SELECT {_COLUMNS}, receipt FROM message WHERE receipt = ? AND broker = ?"  # noqa: S608
    row: tuple[Any, ...] | None = connection.execute(statement, (receipt, broker)).fetchone()
    return row


def _first(connection: sqlite3.Connection, digest: str, broker: str) -> str | None:
    """The receipt of what waits under an idempotency key."""
    row: tuple[str] | None = connection.execute(
        f"SELECT receipt FROM message WHERE {DIGEST} = ? AND broker = ? AND is_refused = 0",  # noqa: S608
        (digest, broker),
    ).fetchone()
    return row and row[0]


def _locked(descriptor: int, patience_s: float) -> bool:
    until_s = time.monotonic() + patience_s
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= until_s:
            return False
        threading.Event().wait(_PAUSE_S)


def _let_go() -> None:
    """In a forked child: the lock is its parent's, and must not outlive it."""
    for descriptor in tuple(_LOCKS):
        os.close(descriptor)
    _LOCKS.clear()


os.register_at_fork(after_in_child=_let_go)
