"""The spool's file when something is wrong with it: told by name, with what to do, and nothing is lost."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hardening.core.errors import SpoolError
from tests.integration.spooling import BROKER, publication, receipts, spool_at, writer

if TYPE_CHECKING:
    from hardening.delivery.spool import Spool

pytestmark = pytest.mark.one_server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where nothing is yet."""
    return tmp_path / "state" / "celery-hardening" / "shop.spool"


@pytest.fixture
def spool(path: Path) -> Spool:
    """An empty spool."""
    return spool_at(path)


def test_a_full_disk_is_told_and_harms_nothing(path: Path) -> None:
    """A limit on the size of files stands for it."""
    spool_at(path).put(publication())
    process = writer(path, "w", 1000, 2000, limit=300_000)
    out, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"SpoolError: the spool {path} cannot be written (disk I/O error): is its disk full, or failing?" in told
    spool = spool_at(path)
    assert len(spool.messages()) == 1 + len(out.splitlines())
    spool.put(publication())


def test_a_file_that_cannot_grow_is_told(spool: Spool) -> None:
    """SQLite's own word for it."""
    spool.put(publication())
    with spool._file.reading() as connection:
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(SpoolError, match=r"cannot grow \(database or disk is full\): free room on its disk"):
        spool.put(publication(padding=1_000_000))
    assert len(spool.messages()) == 1


@pytest.mark.parametrize("name", ["/proc/nowhere/a.spool", "{tmp}/file/a.spool", "{tmp}"])
def test_a_place_where_nothing_can_be_written_is_told(tmp_path: Path, name: str) -> None:
    """With the path, and what to do."""
    (tmp_path / "file").write_text("")
    path = Path(name.format(tmp=tmp_path))
    with pytest.raises(SpoolError) as raised:
        spool_at(path).put(publication())
    assert str(raised.value).startswith(f"the spool {path} cannot be opened (")
    assert str(raised.value).endswith("see that its directory exists and is writable, or set hardening_spool_path")


@pytest.mark.parametrize("damage", ["text", "torn"])
def test_a_damaged_file_is_told_and_left_alone(spool: Spool, path: Path, damage: str) -> None:
    """Its name, and what to do with it."""
    for _ in range(20):
        spool.put(publication(padding=1000))
    spool._file.close()
    data = path.read_bytes()
    broken = b"not a database" * 1000 if damage == "text" else data[:4096] + b"\xff" * (len(data) - 4096)
    path.write_bytes(broken)
    for attempt in (lambda: spool.put(publication()), spool.messages, spool.batch):
        with pytest.raises(SpoolError, match="it is damaged or not a spool") as raised:
            attempt()
        assert str(path) in str(raised.value)
        assert "move it aside and a new one is made; `sqlite3 FILE .recover`" in str(raised.value)
    assert path.read_bytes()[4096:] == broken[4096:]
    path.rename(path.with_suffix(".aside"))
    spool.put(publication())
    assert len(spool.messages()) == 1


def test_another_programs_database_is_not_touched(path: Path) -> None:
    """Nor is a spool of a later version."""
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SpoolError, match="is not a spool of this version: move it aside"):
        spool_at(path).put(publication())
    assert path.read_bytes() == before


def test_a_file_that_was_removed_is_made_anew(spool: Spool, path: Path) -> None:
    """A message must not go into a file that nobody will ever find."""
    spool.put(publication())
    shutil.rmtree(path.parent)
    spool.put(after := publication())
    assert receipts(spool_at(path)) == [after.receipt]


def test_a_file_that_is_removed_in_the_middle_is_noticed(spool: Spool, path: Path) -> None:
    """The sender is not told that the message is kept."""
    spool.put(publication())
    with pytest.raises(SpoolError, match="was removed or replaced"), spool._file.writing():
        path.rename(path.with_suffix(".aside"))


def test_a_writer_that_holds_the_file_too_long_is_told(
    spool: Spool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, with what is wrong."""
    spool.put(publication())
    monkeypatch.setattr("hardening.delivery.spool_file._BUSY_S", 0.1)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    other = spool_at(path, broker=BROKER)
    with pytest.raises(SpoolError, match=r"was held by another process .*database is locked"):
        other.put(publication())
    holder.execute("COMMIT")
    holder.close()
    other.put(publication())
