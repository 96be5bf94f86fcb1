"""The file of a spool: SQLite in WAL mode that syncs each commit.

Guarantees: what a transaction wrote is on the disk when its block has ended, whatever happens to the process or
to the power after it. The file is its owner's alone (mode 0600). No connection crosses a fork: before one,
every connection of the process is closed, and a fork waits for a transaction that is under way. A file that was
removed or replaced meanwhile is noticed, and is not written to any more.

Does not guarantee: anything on a network file system, where neither SQLite's locks nor its log work.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

from hardening.core.errors import SpoolError
from hardening.core.membership import boot_clock_s

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["DIGEST", "SpoolFile"]

#: How long to wait for others who write, in seconds.
_BUSY_S = 5.0
_PAUSE_S = 0.02
#: "CHsp" marks the file as ours; the version says what is in it.
_APPLICATION, _VERSION = 0x43487370, 1
_SCHEMA = """
CREATE TABLE spool (id TEXT NOT NULL, messages INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO spool VALUES (lower(hex(randomblob(16))), 0, 0);
CREATE TABLE message (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, receipt TEXT NOT NULL UNIQUE, broker TEXT NOT NULL, list TEXT NOT NULL,
  queue TEXT NOT NULL, raw BLOB NOT NULL, due_ms INTEGER NOT NULL, fields TEXT NOT NULL, size INTEGER NOT NULL,
  spooled_ms INTEGER NOT NULL, is_uncertain INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  error TEXT NOT NULL DEFAULT '', is_refused INTEGER NOT NULL DEFAULT 0);
CREATE INDEX waiting ON message (broker, is_refused, seq);
CREATE TRIGGER more AFTER INSERT ON message BEGIN
  UPDATE spool SET messages = messages + 1, bytes = bytes + new.size; END;
CREATE TRIGGER less AFTER DELETE ON message BEGIN
  UPDATE spool SET messages = messages - 1, bytes = bytes - old.size; END;
"""
#: Where a message's idempotency key stands; files of before there were such keys get the index when opened.
DIGEST = "json_extract(fields, '$.idempotency')"
_INDEX = f"CREATE INDEX IF NOT EXISTS once ON message ({DIGEST}) WHERE {DIGEST} IS NOT NULL"
_DAMAGED = (
    "cannot be read, it is damaged or not a spool ({error}): move it aside and a new one is made; "
    "`sqlite3 FILE .recover` may save what it holds"
)
_ADVICE = {
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_BUSY: f"was held by another process for more than {_BUSY_S:g} s ({{error}})",
    sqlite3.SQLITE_FULL: "cannot grow ({error}): free room on its disk",
    sqlite3.SQLITE_IOERR: "cannot be written ({error}): is its disk full, or failing?",
}
_UNUSABLE = "cannot be opened ({error}): see that its directory exists and is writable, or set hardening_spool_path"

#: Held around every transaction of this process and around every fork.
_FORKING = threading.RLock()
_FILES: weakref.WeakSet[SpoolFile] = weakref.WeakSet()


class SpoolFile:
    """One spool's file. Made when it is first written to.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)
        with _FORKING:
            _FILES.add(self)

    def __del__(self) -> None:
        connection = vars(self).get("_connection")
        if connection is not None:
            connection.close()

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        return self.path.exists()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one instant; the file must exist.

        Raises:
            SpoolError: with what to do.
        """
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes in; on the disk when the block has ended.

        Raises:
            SpoolError: with what to do; nothing was written.
        """
        try:
            self._make()
        except OSError as error:
            self._fail(error)
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def close(self) -> None:
        """Closes the connection, if there is one; the next transaction opens another."""
        with _FORKING:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with _FORKING:
            try:
                connection = self._open()
                connection.execute(begin)
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise
                if not self.exists or self._identity != _identity(self.path):
                    raise SpoolError(str(self.path), "was removed or replaced while it was in use: try again")
            except (sqlite3.Error, OSError) as error:
                self.close()
                self._fail(error)

    def _fail(self, error: Exception) -> NoReturn:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise SpoolError(str(self.path), _ADVICE.get(code, _UNUSABLE).format(error=error)) from error

    def _make(self) -> None:
        """Makes the file and its directory, both for the owner alone, and puts their names on the disk."""
        if self.exists:
            return
        missing = [parent for parent in self.path.parents if not parent.exists()]
        self.path.parent.mkdir(0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        for directory in {self.path.parent, *(parent.parent for parent in missing)}:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _open(self) -> sqlite3.Connection:
        identity = _identity(self.path)
        if self._connection is not None and identity == self._identity:
            return self._connection
        self.close()
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode=rw", uri=True, timeout=_BUSY_S, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        self._connection, self._identity = connection, identity
        try:
            is_new = self._is_new(connection)
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o600)
            _until_free(connection, "PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")
            if is_new:
                self._prepare(connection)
            _until_free(connection, _INDEX)
        except BaseException:
            self.close()
            raise
        return connection

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        """Whether the file is empty; what is another's is not touched."""
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        marks = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if tables and marks != [_APPLICATION, _VERSION]:
            text = "is not a spool of this version: move it aside, or set hardening_spool_path to another file"
            raise SpoolError(str(self.path), text)
        return not tables

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Makes the tables, unless another process has done so just now."""
        connection.execute("BEGIN IMMEDIATE")
        if self._is_new(connection):
            for statement in _statements(_SCHEMA):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _until_free(connection: sqlite3.Connection, statement: str) -> None:
    """Runs what SQLite, where others are just opening the file, refuses without waiting for them."""
    until_s = boot_clock_s() + _BUSY_S
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or boot_clock_s() > until_s:
                raise
            threading.Event().wait(_PAUSE_S)
        else:
            return


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _before_fork() -> None:
    _FORKING.acquire()
    for file in list(_FILES):
        file.close()


os.register_at_fork(before=_before_fork, after_in_parent=_FORKING.release, after_in_child=_FORKING.release)
