"""The spool's file: what it keeps, in which order, how much, for whom, and what may happen to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hardening.core.errors import SpoolFull
from hardening.delivery.spool import Spool, SpoolTotals
from tests.integration.spooling import publication, receipts, spool_at

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.one_server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where nothing is yet."""
    return tmp_path / "state" / "celery-hardening" / "shop.spool"


@pytest.fixture
def spool(path: Path) -> Spool:
    """An empty spool."""
    return spool_at(path)


def test_a_spool_nobody_wrote_to_is_no_file(spool: Spool, path: Path) -> None:
    """And has nothing."""
    assert (spool.messages(), spool.batch(), spool.find("r"), spool.totals()) == ([], [], None, SpoolTotals())
    assert (spool.purge(), spool.retry_refused(), spool.adopt()) == (0, 0, 0)
    assert not path.parent.exists()


def test_what_is_put_is_found_as_it_was_by_any_process(spool: Spool, path: Path) -> None:
    """The exact call, in the order in which it came."""
    put = [publication(f"q{at}", f"t{at}", due_ms=at) for at in range(3)]
    for one in put:
        spool.put(one, is_uncertain=one.queue == "q1")
    other = spool_at(path)
    assert [spooled.publication for spooled in other.batch()] == put
    assert [spooled.is_uncertain for spooled in other.batch()] == [False, True, False]
    found = other.find(put[1].receipt)
    assert found is not None
    assert (found.publication, found.receipt, found.attempts, found.error) == (put[1], put[1].receipt, 0, "")
    assert 0 <= found.age_s < 60
    assert other.identity() == spool.identity()
    assert other.find("nobody") is None


def test_a_list_has_no_raw_messages(spool: Spool) -> None:
    """Nor all of them, if fewer are asked for."""
    for _ in range(3):
        spool.put(publication())
    assert [spooled.publication.raw for spooled in spool.messages(2)] == [b"", b""]


def test_each_commit_is_synced(spool: Spool) -> None:
    """WAL, and FULL: in WAL mode NORMAL may lose what was committed when the power goes."""
    with spool._file.writing() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA fullfsync").fetchone() == (1,)


def test_only_the_owner_can_read_it(spool: Spool, path: Path) -> None:
    """Messages have arguments. What was made readable for others is closed again."""
    before = os.umask(0)
    try:
        spool._file._make()
        assert oct(path.stat().st_mode & 0o777) == "0o600"  # from the first moment
        spool.put(publication())
        names = [path, *(path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm"))]
        assert [oct(name.stat().st_mode & 0o777) for name in names] == ["0o600"] * 3
        assert oct(path.parent.stat().st_mode & 0o777) == "0o700"
    finally:
        os.umask(before)
    spool._file.close()
    path.chmod(0o644)
    assert len(spool_at(path).batch()) == 1
    assert oct(path.stat().st_mode & 0o777) == "0o600"


def test_a_message_is_in_it_once(spool: Spool) -> None:
    """Also when it is put again."""
    one = publication()
    spool.put(one)
    spool.put(one)
    assert receipts(spool) == [one.receipt]


def test_too_many_messages_are_refused_and_the_oldest_kept(path: Path) -> None:
    """Room comes back as they leave."""
    spool = spool_at(path, max_messages=2)
    kept = [publication(), publication()]
    for one in kept:
        spool.put(one)
    with pytest.raises(SpoolFull) as raised:
        spool.put(publication())
    total = spool.totals().bytes
    assert (raised.value.messages, raised.value.bytes, raised.value.path) == (2, total, str(path))
    assert receipts(spool) == [one.receipt for one in kept]
    spool.put(kept[0])
    spool.settle([spool.batch()[0].seq])
    spool.put(newest := publication())
    assert receipts(spool) == [kept[1].receipt, newest.receipt]


def test_too_many_bytes_are_refused(path: Path) -> None:
    """A smaller message may still fit."""
    spool = spool_at(path, max_bytes=3000)
    spool.put(publication(padding=2000))
    with pytest.raises(SpoolFull):
        spool.put(publication(padding=2000))
    spool.put(publication(padding=100))
    assert spool.totals().waiting == 2
    assert spool.totals().bytes == sum(spooled.size for spooled in spool.messages())
    assert spool.purge() == 2
    assert spool.totals() == SpoolTotals()


def test_a_batch_is_bounded(path: Path) -> None:
    """By number and by bytes; one that is larger than a batch is a batch."""
    spool = spool_at(path)
    sizes = [3_000_000, 3_000_000, 9_000_000, *[10] * 150]
    seen = []
    for size in sizes:
        spool.put(publication(padding=size))
    while batch := spool.batch():
        seen.append(len(batch))
        spool.settle([spooled.seq for spooled in batch])
    assert seen == [1, 1, 1, 100, 50]


def test_what_is_refused_is_set_aside_and_may_come_back(spool: Spool) -> None:
    """At its old place; what it was told stays until it is told something else."""
    first, second, third = (publication() for _ in range(3))
    for each in (first, second, third):
        spool.put(each, is_uncertain=True)
    one, two, three = (spooled.seq for spooled in spool.batch())
    spool.settle([one], refused=[(two, "wrong type")], failed=(three, "gone"))
    assert receipts(spool) == [second.receipt, third.receipt]
    assert receipts(spool, refused=True) == [second.receipt]
    assert [(row.receipt, row.attempts, row.error) for row in spool.batch()] == [(third.receipt, 1, "gone")]
    assert (spool.totals().waiting, spool.totals().refused) == (1, 1)
    assert spool.retry_refused([third.receipt, "nobody"]) == 0
    assert spool.retry_refused([second.receipt, second.receipt]) == 1
    assert [(row.receipt, row.error, row.is_uncertain) for row in spool.batch()] == [
        (second.receipt, "wrong type", False), (third.receipt, "gone", True),
    ]  # fmt: skip


def test_purging_takes_what_is_meant(spool: Spool) -> None:
    """Those named, those set aside, or all."""
    put = [publication() for _ in range(5)]
    for one in put:
        spool.put(one)
    spool.settle([], refused=[(spooled.seq, "no") for spooled in spool.batch()[:2]])
    assert spool.purge([put[4].receipt, "nobody", put[4].receipt]) == 1
    assert spool.purge(refused=True) == 2
    assert receipts(spool) == [put[2].receipt, put[3].receipt]
    assert spool.purge() == 2


def test_messages_for_other_brokers_hold_up_nothing(spool: Spool, path: Path) -> None:
    """However many came first."""
    other = spool_at(path, broker="redis://there:6379/0")
    for _ in range(120):
        other.put(publication())
    spool.put(ours := publication())
    assert [spooled.receipt for spooled in spool.batch()] == [ours.receipt]
    assert len(other.batch()) == 100


def test_brokers_share_a_file_and_not_their_messages(spool: Spool, path: Path) -> None:
    """Two projects with the default prefix on one host must not publish into each other's Redis."""
    other = spool_at(path, broker="redis://there:6379/0")
    spool.put(ours := publication())
    other.put(theirs := publication())
    assert (receipts(spool), receipts(other)) == ([ours.receipt], [theirs.receipt])
    assert spool.find(theirs.receipt) is None
    totals = spool.totals()
    assert totals == SpoolTotals(1, 0, 1, totals.bytes, totals.oldest_s)
    assert (spool.purge([theirs.receipt]), spool.retry_refused([theirs.receipt])) == (0, 0)
    with spool.flushing() as ours_alone, other.flushing() as theirs_alone:
        assert (ours_alone, theirs_alone) == (True, True)
    assert other.adopt() == 1
    assert receipts(other) == [ours.receipt, theirs.receipt]
