"""Retention on a real Redis: what goes is counted, told, and on disk before, if anywhere."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from dlq import events, keeper
from dlq.keeper import Report
from hardening.core import telemetry
from tests.eventually import eventually
from tests.integration.graveyard import Graveyard, Kind
from tests.integration.keeping import keeper_of, together

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys


def test_what_is_too_much_is_trimmed_oldest_first(client: Redis, keys: Keys) -> None:
    """Counted, told, and gone from every index; the ledger balances."""
    graveyard = Graveyard(client, keys)
    ids = graveyard.bury([Kind(task=f"t{number % 7}") for number in range(1000)])
    with telemetry.capture("hardening.dead_letters.trimmed") as told:
        report = keeper_of(client, keys, dlq_max_entries=300).run_once()
    assert report == Report(trimmed=700, parked=300)
    assert told == [events.DeadLettersTrimmed(trimmed=700, archived=0)]
    assert [entry.id for entry in graveyard.letters.select()] == ids[700:]
    assert graveyard.letters.stats().total == 300
    counters = graveyard.check()
    assert (counters["dead"], counters["trimmed"]) == (1000, 700)


def test_what_is_too_old_is_trimmed(client: Redis, keys: Keys) -> None:
    """And nothing else: not a letter that is as old as one may be."""
    graveyard = Graveyard(client, keys)
    graveyard.bury([Kind()] * 3)
    one = keeper_of(client, keys, dlq_max_age_s=1.0)
    assert one.run_once() == Report(parked=3)
    eventually(lambda: _age_ms(client, graveyard) > 1000)
    (young,) = graveyard.bury([Kind()])
    assert one.run_once() == Report(trimmed=3, parked=1)
    assert [entry.id for entry in graveyard.letters.select()] == [young]
    graveyard.check()


def _age_ms(client: Redis, graveyard: Graveyard) -> int:
    seconds, micros = client.time()
    return seconds * 1000 + micros // 1000 - max(entry.died_ms for entry in graveyard.letters.select())


def test_keepers_who_trim_at_once_trim_no_more_than_is_too_much(
    client: Redis, keys: Keys, server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody heeds turns."""
    monkeypatch.setattr(keeper, "_TURN_MS", 1)
    graveyard = Graveyard(client, keys)
    ids = graveyard.bury([Kind()] * 3000)
    clients = [server.client() for _ in range(4)]

    def keep(number: int) -> int:
        mine = keeper_of(clients[number], keys, f"k{number}", dlq_max_entries=100)
        return sum(mine.run_once().trimmed for _ in range(200))

    assert sum(together(4, keep)) == 2900
    for one in clients:
        one.close()
    assert [entry.id for entry in graveyard.letters.select()] == ids[2900:]
    assert graveyard.check()["trimmed"] == 2900


def test_what_is_trimmed_is_archived_before(client: Redis, keys: Keys, tmp_path: Path) -> None:
    """Whole, one line each, for its owner's eyes only; later ones are appended."""
    archive = tmp_path / "dead.jsonl"
    graveyard = Graveyard(client, keys)
    one = keeper_of(client, keys, dlq_max_entries=1, dlq_archive=str(archive))
    first = graveyard.bury([Kind(error=f"E{number}: \u00e9") for number in range(250)])
    raws = [entry.raw for entry in graveyard.entries(first)]
    with telemetry.capture("hardening.dead_letters.trimmed") as told:
        assert one.run_once().trimmed == 249
        graveyard.bury([Kind()])
        assert one.run_once().trimmed == 1
    assert told == [
        events.DeadLettersTrimmed(trimmed=249, archived=249), events.DeadLettersTrimmed(trimmed=1, archived=1)
    ]  # fmt: skip
    lines = [json.loads(line) for line in archive.read_text().splitlines()]
    assert [line["id"] for line in lines] == first
    assert lines[7]["fields"]["error"] == "E7: \u00e9"
    assert [raw_in(line) for line in lines] == raws
    assert archive.stat().st_mode & 0o777 == 0o600
    graveyard.check()


def raw_in(line: dict[str, Any]) -> bytes:
    """The message in a line of the archive."""
    return base64.b64decode(line["raw"])


def test_without_its_archive_nothing_is_trimmed(client: Redis, keys: Keys, tmp_path: Path) -> None:
    """And it is said, each time."""
    graveyard = Graveyard(client, keys)
    graveyard.bury([Kind()] * 3)
    one = keeper_of(client, keys, dlq_max_entries=1, dlq_archive=str(tmp_path / "no" / "such.jsonl"))
    with telemetry.capture("hardening.archive") as told:
        assert one.run_once() == Report(parked=3)
    (fault,) = told
    assert isinstance(fault, events.ArchiveFailed)
    assert "No such file" in fault.error
    assert len(graveyard.letters) == 3
    graveyard.check()


def test_an_archive_is_on_disk_before_anything_is_trimmed(
    client: Redis, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails at the last moment costs no letter."""
    graveyard = Graveyard(client, keys)
    graveyard.bury([Kind()] * 3)
    (tmp_path / "dead.jsonl").touch()  # so that only the file itself is left to be synchronised

    def fail(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("dlq.archive.os.fsync", fail)
    one = keeper_of(client, keys, dlq_max_entries=1, dlq_archive=str(tmp_path / "dead.jsonl"))
    assert one.run_once().trimmed == 0
    assert len(graveyard.letters) == 3
