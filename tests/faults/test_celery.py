"""What people use of Celery goes on working: canvas, results, retries, control, purge, and every door to the DLQ."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord, group
from celery.exceptions import WorkerLostError

from dlq import DeadLetters, Reason
from hardening.core.deployment import client_of, settings_of
from hardening.delivery import DeliveryStatus, supervised_send
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery
    from celery.result import AsyncResult

    from dlq import Entry
    from tests.faults.rig import Rig

_WAIT_S = 20


@pytest.fixture
def shop(rig: Rig) -> Iterator[Celery]:
    """A producer whose worker runs; results are kept."""
    producer = rig.producer()
    producer.conf.update(result_backend=rig.broker, task_ignore_result=False)
    yield producer
    producer.close()


def _task(shop: Celery, name: str, *args: Any, **options: Any) -> Any:
    return shop.signature(f"tests.faults.tasks.{name}", args=args, **options)


def _dead(shop: Celery) -> list[Entry]:
    settings = settings_of(shop)
    letters = DeadLetters(client_of(shop), settings.keys, receipt_ttl_ms=settings.receipt_ttl_ms)
    return list(letters.select())


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_groups_chains_chords_and_retries_give_their_results(rig: Rig, shop: Celery, pool: str) -> None:
    """The result backend sees what it always saw."""
    rig.ready(rig.start(pool, 2, faults_results="1"))
    assert chain(_task(shop, "add", 1, 2), _task(shop, "add", 4)).apply_async().get(timeout=_WAIT_S) == 7
    assert group(_task(shop, "add", n, n) for n in range(5)).apply_async().get(timeout=_WAIT_S) == [0, 2, 4, 6, 8]
    header = [_task(shop, "add", n, n) for n in range(5)]
    assert chord(header)(_task(shop, "total")).get(timeout=_WAIT_S) == 20
    assert _task(shop, "flaky", "f", 2).apply_async().get(timeout=_WAIT_S) == "third time"
    assert rig.settled().counters["published"] == rig.read().counters["acked"]
    assert _dead(shop) == []


@pytest.mark.one_server
def test_control_revoke_rate_limits_and_purge_work(rig: Rig, shop: Celery) -> None:
    """Remote control answers, a revoked task does not run, a purge is in the ledger."""
    worker = rig.ready(rig.start("prefork", 1, faults_results="1"))
    name = f"{rig.prefix}-0@test"
    control = shop.control
    assert control.inspect(destination=[name], timeout=5).ping() == {name: {"ok": "pong"}}
    assert control.rate_limit("tests.faults.tasks.work", "100/s", destination=[name], reply=True)
    held = _task(shop, "work", "held", 3).apply_async()
    eventually(lambda: rig.count("began")["held"] == 1)
    revoked = _task(shop, "work", "revoked", 0).apply_async()
    eventually(lambda: rig.read().inflight == 2)
    shop.control.revoke(revoked.id, destination=[name], reply=True)
    held.get(timeout=_WAIT_S)
    eventually(lambda: rig.read().inflight == 0)
    assert rig.count("began")["revoked"] == 0
    worker.stop()
    for number in range(7):
        _task(shop, "work", f"purged{number}", 0).apply_async()
    assert control.purge() == 7
    ledger = rig.settled()
    assert ledger.counters["purged"] == 7


def test_each_door_leads_to_the_dead_letter_queue_exactly_once(rig: Rig, shop: Celery) -> None:
    """Failed, rejected, timed out, expired, unknown, undecodable: one entry each, whole, with a reason."""
    shop.send_task("tests.faults.tasks.work", ("late", 0), expires=0.2)
    eventually(lambda: rig.read().queued == 1)
    rig.stays(lambda: True, 0.5)
    _task(shop, "fail", "f").apply_async()
    _task(shop, "reject", "r").apply_async()
    _task(shop, "hang", "h").apply_async()
    shop.send_task("tests.no_such_task", ("u",))
    client_of(shop).lpush(rig.queue, b"{ not json")
    client_of(shop).lpush(rig.queue, json.dumps({"body": "!", "properties": {}, "headers": {}}).encode())
    with shop.producer_pool.acquire(block=True) as producer:
        producer.publish(
            b"x", routing_key=rig.queue, headers={"task": "tests.faults.tasks.work", "id": "p"},
            content_type="application/x-python-serialize", content_encoding="binary",
        )  # fmt: skip
    rig.ready(rig.start("prefork", 2, faults_results="1"))
    eventually(lambda: len(_dead(shop)) == 8, 30)
    ledger = rig.settled()
    assert sorted(entry.reason for entry in _dead(shop)) == sorted(
        [
            Reason.EXPIRED, Reason.FAILED, Reason.REJECTED, Reason.TIMEOUT, Reason.UNKNOWN_TASK,
            Reason.UNDECODABLE, Reason.UNDECODABLE, Reason.UNDECODABLE,
        ]
    )  # fmt: skip
    by_reason = {entry.reason: entry for entry in _dead(shop)}
    assert "no luck" in by_reason["failed"].error
    assert "in fail" in by_reason["failed"].traceback
    assert ledger.counters["dead"] == 8


@pytest.mark.one_server
def test_a_task_that_opts_out_runs_at_most_once_and_says_so(rig: Rig, shop: Celery) -> None:
    """Acked when begun: a kill loses it, a failure still becomes a dead letter, and the ledger balances."""
    worker = rig.ready(rig.start("prefork", 1, faults_results="1"))
    _task(shop, "fail_once_only", "f").apply_async()
    eventually(lambda: [entry.reason for entry in _dead(shop)] == [Reason.FAILED], 10)
    receipt = supervised_send("tests.faults.tasks.once_only", ("k", 30), app=shop)
    eventually(lambda: rig.count("began")["k"] == 1)
    eventually(lambda: receipt.status() is DeliveryStatus.ACKED)
    rig.kill(worker)
    rig.ready(rig.start("prefork", 1, faults_results="1"))
    assert rig.stays(lambda: rig.count("began")["k"] == 1, 4)
    rig.settled()


def test_a_message_buried_for_its_crashes_fails_its_result(rig: Rig, shop: Celery) -> None:
    """Nobody waits for ever for a task that will never run again."""
    rig.ready(rig.start("prefork", 1, faults_results="1"))
    result: AsyncResult[Any] = _task(shop, "kill_child", "poison").apply_async()
    with pytest.raises(WorkerLostError):
        result.get(timeout=60)
    assert [entry.reason for entry in _dead(shop)] == [Reason.CRASHED]


def test_two_prefixes_on_one_redis_never_touch_each_others_keys(rig: Rig, shop: Celery) -> None:
    """A second deployment's consumers, schedule and dead letters are invisible to the first."""
    rig.ready(rig.start("threads", 1, faults_results="1"))
    client = client_of(shop)
    client.zadd("other:leases", {"other-consumer": 1})
    client.hset("other:inflight:other-consumer", "1", "5:queueraw")
    client.zadd("other:scheduled", {"m": 1})
    before = {key: client.dump(key) for key in client.scan_iter("other:*")}
    _task(shop, "add", 1, 2).apply_async().get(timeout=_WAIT_S)
    assert rig.stays(lambda: {key: client.dump(key) for key in client.scan_iter("other:*")} == before, 2)
    client.delete(*before)


def test_a_redis_that_evicts_is_refused_in_one_line(rig: Rig, shop: Celery) -> None:
    """The worker says what to do and exits; it does not lose messages quietly."""
    client = client_of(shop)
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        worker = rig.start("threads", 1)
        worker.process.wait(20)
    finally:
        client.config_set("maxmemory-policy", "noeviction")
    assert worker.process.returncode == 78
    log = worker.log.read_text()
    assert "expected noeviction" in log
    assert "Traceback" not in log
