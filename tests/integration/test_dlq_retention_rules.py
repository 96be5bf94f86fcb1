"""Narrower limits for some dead letters: by reason, queue, name and task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dlq import events
from dlq.keeper import Report
from hardening.core import telemetry
from hardening.core.errors import ConfigError, DlqUnknown
from hardening.worker.keeping import service_for
from tests.eventually import eventually
from tests.integration.graveyard import Graveyard, Kind
from tests.integration.keeping import keeper_of, together
from tests.integration.spooling import app_for

if TYPE_CHECKING:
    from pathlib import Path

    from celery import Celery
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys
    from tests.undertaker import Undertaker

PARKED = {"default": {"attempts": 0}}


def _greet() -> None:
    """What the task here would do."""


def left(graveyard: Graveyard) -> list[str]:
    """The ids that are there, oldest first."""
    graveyard.check()
    return [entry.id for entry in graveyard.letters.select()]


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        # 0: failed a.x q1, 1: failed a.y q1, 2: expired a.x q2, 3: failed b q2, 4: failed a.x q1
        ({"task:a.*": {"max_entries": 2}}, [2, 3, 4]),
        ({"task:a.*": {"max_entries": 1}, "task:a.x": {"max_entries": 2}}, [1, 2, 3, 4]),
        ({"reason:expired": {"max_entries": 1}, "reason:failed": {"max_entries": 1}}, [2, 4]),
        ({"queue:{p}.q1": {"max_entries": 1}, "reason:failed": {"max_entries": 1}}, [2, 3, 4]),
        ({"dlq:mine": {"max_entries": 1}, "queue:{p}.q2": {"max_entries": 1}}, [1, 3, 4]),
        ({"dlq:mine": {"max_entries": 3}, "task:b": {}, "default": {"max_entries": 1}}, [0, 1, 2, 3, 4]),
        ({"default": {"max_entries": 1}}, [4]),
        ({"default": {}}, [0, 1, 2, 3, 4]),
    ],
)  # fmt: skip
def test_the_most_special_rule_decides_alone(
    client: Redis, keys: Keys, rules: dict[str, dict[str, int]], kept: list[int]
) -> None:
    """Task, then name, queue, reason and the default; the oldest of a rule's letters go first."""
    graveyard = Graveyard(client, keys)
    kinds = [("failed", "a.x", "q1"), ("failed", "a.y", "q1"), ("expired", "a.x", "q2"), ("failed", "b", "q2")]
    ids = graveyard.bury([Kind(*kind) for kind in [*kinds, kinds[0]]])
    limits = {name.format(p=keys.prefix): rule for name, rule in rules.items()}
    one = keeper_of(
        client, keys, dlq_retry=PARKED, dlq_retention=limits, tasks_of={"mine": frozenset({"a.x"})}.__getitem__
    )
    with telemetry.capture("hardening.dead_letters.trimmed") as told:
        report = one.run_once()
    gone = 5 - len(kept)
    assert report == Report(trimmed=gone, parked=len(kept))
    assert left(graveyard) == [ids[at] for at in kept]
    assert sum(event.trimmed for event in told if isinstance(event, events.DeadLettersTrimmed)) == gone
    assert graveyard.check().get("trimmed", 0) == gone
    assert one.run_once() == Report()


def test_a_rule_for_age_trims_what_is_too_old_of_its_own(client: Redis, keys: Keys) -> None:
    """And nothing else."""
    graveyard = Graveyard(client, keys)
    old = graveyard.bury([Kind(task="short"), Kind(task="long"), Kind(task="short")])
    one = keeper_of(client, keys, dlq_retention={"task:short": {"max_age_s": 1.0}})
    assert one.run_once().trimmed == 0
    eventually(lambda: _now_ms(client) - int(old[2].partition("-")[0]) > 1001)
    young = graveyard.bury([Kind(task="short")])
    assert one.run_once().trimmed == 2
    assert left(graveyard) == [old[1], *young]


def _now_ms(client: Redis) -> int:
    seconds, micros = client.time()
    return seconds * 1000 + micros // 1000


def test_keepers_at_once_trim_no_more_than_is_too_much(
    client: Redis, keys: Keys, server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody heeds turns; over many groups."""
    monkeypatch.setattr("dlq.keeper._TURN_MS", 1)
    graveyard = Graveyard(client, keys)
    ids = graveyard.bury([Kind(task=f"t{number % 13}", error=f"E{number % 7}") for number in range(2000)])
    clients = [server.client() for _ in range(4)]

    def keep(number: int) -> int:
        mine = keeper_of(
            clients[number], keys, f"k{number}", dlq_retry=PARKED, dlq_retention={"task:t*": {"max_entries": 50}}
        )
        return sum(mine.run_once().trimmed for _ in range(50))

    assert sum(together(4, keep)) == 1950
    for one in clients:
        one.close()
    assert left(graveyard) == ids[1950:]
    assert graveyard.check()["trimmed"] == 1950


def test_what_a_rule_trims_is_archived_before(client: Redis, keys: Keys, tmp_path: Path) -> None:
    """And stays where it cannot be."""
    graveyard = Graveyard(client, keys)
    ids = graveyard.bury([Kind(task=task) for task in ("a", "b", "a", "b", "a")])
    rules: dict[str, Any] = {"dlq_retry": PARKED, "dlq_retention": {"task:a": {"max_entries": 1}}}
    nowhere = keeper_of(client, keys, dlq_archive=str(tmp_path / "no" / "such.jsonl"), **rules)
    assert nowhere.run_once().trimmed == 0
    assert left(graveyard) == ids
    archive = tmp_path / "dead.jsonl"
    with telemetry.capture("hardening.dead_letters.trimmed") as told:
        assert keeper_of(client, keys, dlq_archive=str(archive), **rules).run_once().trimmed == 2
    assert told == [events.DeadLettersTrimmed(trimmed=2, archived=2)]
    assert [json.loads(line)["id"] for line in archive.read_text().splitlines()] == [ids[0], ids[2]]
    assert left(graveyard) == [ids[1], ids[3], ids[4]]


def test_a_name_that_no_task_has_is_told_once_and_does_nothing(client: Redis, keys: Keys) -> None:
    """Another worker may know it."""

    def tasks_of(dlq: str) -> frozenset[str]:
        raise DlqUnknown(dlq, ["mail"])

    graveyard = Graveyard(client, keys)
    ids = graveyard.bury([Kind()] * 3)
    one = keeper_of(client, keys, dlq_retention={"dlq:mial": {"max_entries": 1}}, tasks_of=tasks_of)
    with telemetry.capture("hardening.retention") as told:
        assert [one.run_once().trimmed for _ in range(3)] == [0, 0, 0]
    assert told == [events.RetentionUnmatched(dlq="mial", error="no task has dead_letter='mial': known are: mail")]
    assert left(graveyard) == ids


def test_letters_of_too_many_kinds_are_bounded_by_the_limits_for_all(client: Redis, keys: Keys) -> None:
    """Nobody knows any more which rule they are for."""
    graveyard = Graveyard(client, keys)
    graveyard.bury([Kind(task=f"t{number}") for number in range(2100)])
    one = keeper_of(client, keys, dlq_retry=PARKED, dlq_retention={"default": {"max_entries": 1}})
    while one.run_once().trimmed:
        pass
    assert len(left(graveyard)) > 1
    assert keeper_of(client, keys, dlq_max_entries=1).run_once().trimmed


def test_a_worker_knows_the_names_that_its_tasks_give(app: Celery, undertaker: Undertaker) -> None:
    """Its keeper trims them."""
    app = app_for(app.conf.broker_url, undertaker.keys.prefix, hardening_dlq_retention={"dlq:mail": {"max_entries": 1}})
    app.task(name="shop.greet", dead_letter="mail", shared=False)(_greet)
    kept = [undertaker.dead_letter(task) for task in ("shop.greet", "shop.charge", "shop.greet")][1:]
    service = service_for(app)
    service.start()
    try:
        eventually(lambda: undertaker.check().counters.get("trimmed") == 1)
    finally:
        service.stop()
    assert [each.id for each in Graveyard(undertaker.client, undertaker.keys).letters.select()] == kept


def test_a_reason_that_there_is_not_is_refused(prefix: str) -> None:
    """When the app is hardened."""
    with pytest.raises(ConfigError, match="hardening_dlq_retention has an unknown reason 'expried', did you mean"):
        app_for("redis://", prefix, hardening_dlq_retention={"reason:expried": {"max_entries": 1}})
