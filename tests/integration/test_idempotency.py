"""An idempotency key: of all sends that have it, the first is the message, wherever and however often it is sent."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hardening import supervised_send
from hardening.core.errors import PublishFailed
from hardening.core.scripts import Once, Script
from hardening.delivery.fallback import Fallback, fallback_of
from hardening.delivery.flusher import Report
from tests.eventually import eventually
from tests.faults.proxy import Proxy
from tests.integration.spooling import AWAY, app_for, receipts
from tests.integration.stage import RECEIPT_FIELDS, Stage, State, long

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.embedded import EmbeddedRedis

ROOT = Path(__file__).parents[2]
DIGEST = hashlib.sha256(b"order-17").hexdigest()

#: Forks so many senders, lets them all go at once, and prints the receipts that they got.
RACE = """
import os, sys
from celery import Celery
from hardening import harden, supervised_send

broker, prefix, count = sys.argv[1:]
app = Celery("race", broker=broker)
app.conf.update(task_default_queue=f"{prefix}.q", hardening_prefix=prefix)
harden(app)
go, told = os.pipe(), os.pipe()
for number in range(int(count)):
    if os.fork() == 0:
        os.close(go[1])
        os.read(go[0], 1)
        receipt = supervised_send("add", (number,), timeout=30, idempotency_key="order-17", on_error="raise")
        os.write(told[1], receipt.id.encode() + b"\\n")
        os._exit(0)
os.close(go[1])
os.close(told[1])
while text := os.read(told[0], 65536):
    sys.stdout.write(text.decode())
"""


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushes are the test's to make."""
    monkeypatch.setattr("hardening.delivery.flusher.Flusher.start", lambda _: None)


@pytest.fixture
def shop(server: EmbeddedRedis, prefix: str) -> Celery:
    """An app on the stage's queue."""
    return app_for(server.broker_url, prefix)


def keys_of(stage: Stage) -> list[str]:
    """The idempotency keys in Redis."""
    return [key.decode() for key in stage.client.scan_iter(f"{stage.prefix}:idempotency:*", count=10_000)]


@pytest.mark.parametrize("again", [{}, {"args": (1,)}, {"task": "other", "countdown": 60, "priority": 9}])
def test_a_repeat_returns_the_first_receipt_and_publishes_nothing(
    shop: Celery, stage: Stage, again: dict[str, Any]
) -> None:
    """Whatever its task, arguments and options are: the key alone says what is the same."""
    first = supervised_send("add", app=shop, idempotency_key="order-17")
    repeat = supervised_send(**{"task": "add", **again}, app=shop, idempotency_key="order-17")
    assert repeat == first
    assert stage.state() == State(queued={"q": [first.id]}, rung={"q"})
    assert stage.ledger().counters == {"published": 1}
    assert list(stage.client.scan_iter(f"{stage.prefix}:delivery:*", count=10_000)) == [
        stage.keys.delivery(first.id).encode()
    ]
    assert [change.state for change in repeat.history()] == ["queued"]


def test_another_key_or_none_is_another_message(shop: Celery, stage: Stage) -> None:
    """And so is one that has none."""
    sent = [supervised_send("add", app=shop, idempotency_key=key).id for key in ("a", "b", None, None)]
    assert stage.state() == State(queued={"q": sent}, rung={"q"})
    assert len(keys_of(stage)) == 2


def test_only_a_digest_of_the_key_gets_to_redis(shop: Celery, stage: Stage) -> None:
    """However long it is, and whatever it says."""
    receipt = supervised_send("add", app=shop, idempotency_key="card 4111 " * 10_000 + "\udc80\x00")
    (key,) = keys_of(stage)
    assert len(key) == len(stage.keys.idempotency("")) + 64
    assert receipt.details()["idempotency"] == key.removeprefix(stage.keys.idempotency(""))
    stored = [stage.client.dump(one) for one in stage.client.scan_iter(f"{stage.prefix}*", count=10_000)]
    assert len(stored) == 6
    assert not [value for value in stored if b"4111" in value]


def test_a_key_is_remembered_for_its_window(shop: Celery, stage: Stage) -> None:
    """From the first send on, and no longer; a repeat does not prolong it."""
    first = supervised_send("add", app=shop, idempotency_key="order-17", idempotency_window=0.3)
    key = stage.keys.idempotency(DIGEST)
    assert stage.client.get(key) == first.id.encode()
    left_ms = stage.client.pttl(key)
    assert 0 < left_ms <= 300
    supervised_send("add", app=shop, idempotency_key="order-17", idempotency_window=3600)
    assert stage.client.pttl(key) <= left_ms
    eventually(lambda: not stage.client.exists(key))
    second = supervised_send("add", app=shop, idempotency_key="order-17", idempotency_window=timedelta(hours=2))
    assert stage.state() == State(queued={"q": [first.id, second.id]}, rung={"q"})
    assert 7_100_000 < stage.client.pttl(key) <= 7_200_000


def test_the_default_window_is_a_setting(server: EmbeddedRedis, stage: Stage) -> None:
    """A day, unless it is said otherwise."""
    key = stage.keys.idempotency(DIGEST)
    supervised_send("add", app=app_for(server.broker_url, stage.prefix), idempotency_key="order-17")
    assert 86_300_000 < stage.client.pttl(key) <= 86_400_000
    stage.client.delete(key)
    other = app_for(server.broker_url, stage.prefix, hardening_idempotency_window_s=60)
    supervised_send("add", app=other, idempotency_key="order-17")
    assert 0 < stage.client.pttl(key) <= 60_000


def test_a_receipt_is_kept_at_least_as_long_as_its_key(stage: Stage) -> None:
    """Also when it changes; and its own time to live counts where that is longer."""

    def publish(name: str, window_ms: int) -> None:
        call = stage.scope.publish(
            stage.list_key(), stage.list_key(), stage.raw(name, name), receipt=RECEIPT_FIELDS,
            once=Once(name, window_ms),
        )  # fmt: skip
        assert stage.run(call) == 1

    publish("long", 3_600_000)
    publish("short", 1_000)
    stage.join("w")

    def kept() -> bool:
        left_ms = [stage.client.pttl(stage.keys.delivery(long(name))) for name in ("long", "short")]
        key_ms = stage.client.pttl(stage.keys.idempotency("long"))
        return bool(left_ms[0] >= key_ms and 50_000 < left_ms[1] <= 60_000)

    assert kept()
    stage.take("w")
    stage.begin("w", "long", "short")
    assert kept()
    stage.ack("w", "long", "short")
    assert kept()
    assert stage.receipt("long") == ("acked", "w", "")


def test_the_same_send_is_known_by_its_key_also_when_its_receipt_is_gone(stage: Stage) -> None:
    """A late repeat of the very attempt, as after a lost reply; to another message it names the first."""
    once = Once("k", 60_000)
    call = stage.scope.publish(
        stage.list_key(), stage.list_key(), stage.raw("a", "r"), receipt=RECEIPT_FIELDS, once=once
    )
    assert [stage.run(call), stage.run(call)] == [1, 0]
    stage.client.delete(stage.keys.delivery(long("r")))
    assert stage.run(call) == 0
    other = stage.scope.publish(
        stage.list_key(), stage.list_key(), stage.raw("b", "s"), receipt=RECEIPT_FIELDS, once=once
    )
    assert stage.run(other) == long("r").encode()
    assert stage.state() == State(queued={"q": ["a"]}, rung={"q"})
    assert not stage.client.exists(stage.keys.delivery(long("s")))


def test_a_message_that_redis_refused_leaves_no_key(shop: Celery, stage: Stage) -> None:
    """Or the next send would be taken for a repeat of what never was."""
    stage.client.set(stage.list_key(), "a string")
    with pytest.raises(PublishFailed, match="WRONGTYPE"):
        supervised_send("add", app=shop, idempotency_key="order-17")
    assert keys_of(stage) == []
    stage.client.delete(stage.list_key())
    receipt = supervised_send("add", app=shop, idempotency_key="order-17")
    assert stage.state() == State(queued={"q": [receipt.id]}, rung={"q"})


@pytest.mark.parametrize("after_reply", [True, False], ids=["reply-lost", "call-lost"])
def test_a_retry_of_the_same_send_keeps_its_receipt(server: EmbeddedRedis, stage: Stage, *, after_reply: bool) -> None:
    """Whether the first attempt was heard or not."""
    with Proxy(server.broker_url) as proxy:
        app = app_for(proxy.url, stage.prefix)
        warm = supervised_send("warm", app=app)
        proxy.cut_when(Script.load("publish").sha.encode(), after_reply=after_reply)
        receipt = supervised_send("add", app=app, idempotency_key="order-17", on_error="raise")
        assert receipt.status() == "queued"
        assert supervised_send("add", app=app, idempotency_key="order-17") == receipt
    assert stage.state() == State(queued={"q": [warm.id, receipt.id]}, rung={"q"})


def test_a_confirmation_is_that_of_the_first(shop: Celery, stage: Stage) -> None:
    """A repeat of what is done is done."""
    first = supervised_send("add", app=shop, idempotency_key="order-17")
    stage.join("w")
    stage.take("w")
    stage.ack("w", first.id)
    repeat = supervised_send("add", app=shop, idempotency_key="order-17", confirm="acked", timeout=5, on_error="raise")
    assert (repeat, repeat.status()) == (first, "acked")
    assert stage.state() == State(leases={"w"})


def test_fifty_processes_that_race_for_a_key_send_one_message(server: EmbeddedRedis, stage: Stage) -> None:
    """And all of them hold the same receipt."""
    command = [sys.executable, "-c", RACE, server.broker_url, stage.prefix, "50"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.split()
    assert len(told) == 50
    assert len(set(told)) == 1
    assert stage.state() == State(queued={"q": [told[0]]}, rung={"q"})
    assert stage.ledger().counters == {"published": 1}


@pytest.mark.usefixtures("quiet")
def test_two_spooled_sends_with_one_key_are_one_message(server: EmbeddedRedis, stage: Stage) -> None:
    """The spool knows the key as well, so that both have the same receipt from the beginning."""
    app = app_for(AWAY, stage.prefix)
    first, repeat = (supervised_send("add", app=app, retries=0, idempotency_key="order-17") for _ in range(2))
    other = supervised_send("add", app=app, retries=0, idempotency_key="order-18")
    assert repeat == first
    spool = fallback_of(app).spool
    assert receipts(spool) == [first.id, other.id]
    back = app_for(server.broker_url, stage.prefix)
    spool = Fallback(back).spool
    assert spool.adopt() == 2
    assert fallback_of(back).flusher.run_once() == Report(flushed=2)
    assert stage.state() == State(queued={"q": [first.id, other.id]}, rung={"q"})
    assert supervised_send("add", app=back, idempotency_key="order-17").id == first.id
    assert stage.ledger().counters == {"published": 2}


@pytest.mark.usefixtures("quiet")
def test_spools_of_two_hosts_with_one_key_are_one_message(server: EmbeddedRedis, stage: Stage, tmp_path: Path) -> None:
    """The second to be flushed is a repeat, and so is what was spooled under a key that Redis had."""
    sent = []
    for host in ("a", "b"):
        app = app_for(AWAY, stage.prefix, hardening_spool_path=str(tmp_path / host))
        sent.append(supervised_send("add", app=app, retries=0, idempotency_key="order-17").id)
    assert len(set(sent)) == 2
    reports = []
    for host in ("a", "b"):
        back = app_for(server.broker_url, stage.prefix, hardening_spool_path=str(tmp_path / host))
        fallback_of(back).spool.adopt()
        reports.append(fallback_of(back).flusher.run_once())
    assert reports == [Report(flushed=1), Report(flushed=1, repeated=1)]
    assert stage.state() == State(queued={"q": [sent[0]]}, rung={"q"})
    assert stage.ledger().counters == {"published": 1}


@pytest.mark.usefixtures("quiet")
def test_what_was_set_aside_is_nobodys_first(prefix: str) -> None:
    """It is published only if somebody says so; who sends again gets a message."""
    app = app_for(AWAY, prefix)
    first = supervised_send("add", app=app, retries=0, idempotency_key="order-17")
    spool = fallback_of(app).spool
    spool.settle([], refused=[(spool.batch()[0].seq, "WRONGTYPE")], failed=None)
    second = supervised_send("add", app=app, retries=0, idempotency_key="order-17")
    assert (receipts(spool, refused=True), [one.receipt for one in spool.batch()]) == ([first.id], [second.id])


@pytest.mark.usefixtures("quiet")
def test_a_spool_of_before_there_were_keys_goes_on(prefix: str) -> None:
    """What it holds stays, and it looks keys up by an index from then on."""
    app = app_for(AWAY, prefix)
    before = supervised_send("add", app=app, retries=0)
    spool = fallback_of(app).spool
    spool._file.close()
    with sqlite3.connect(spool.path) as old:
        old.execute("DROP INDEX once")
    old.close()
    first, repeat = (supervised_send("add", app=app, retries=0, idempotency_key="k") for _ in range(2))
    assert (repeat, receipts(spool)) == (first, [before.id, first.id])
    with sqlite3.connect(spool.path) as now:
        plan = now.execute(
            "EXPLAIN QUERY PLAN SELECT receipt FROM message WHERE json_extract(fields, '$.idempotency') = 'x'"
        ).fetchall()
    now.close()
    assert "USING INDEX once" in json.dumps(plan)
