"""supervised_send while Redis is away: spooled, told, and one message in the end."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import RedisError

from hardening import Receipt, send_many, supervised_send
from hardening.core import telemetry
from hardening.core.embedded import EmbeddedRedis
from hardening.core.errors import (
    ConfirmTimeout,
    PublishFailed,
    ReceiptNotFound,
    SpoolError,
    SpoolFull,
)
from hardening.core.membership import boot_clock_s
from hardening.core.outage import MessageSpooled
from hardening.core.scripts import Script
from hardening.delivery.fallback import Fallback, fallback_of
from hardening.delivery.flusher import Report
from tests.eventually import eventually
from tests.faults.proxy import Proxy
from tests.integration.spooling import AWAY, app_for, receipts
from tests.integration.stage import Stage, State
from tests.undertaker import Undertaker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery import Celery

pytestmark = pytest.mark.one_server


@pytest.fixture
def own(binary: str, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of this test's own that remembers what it has answered."""
    data = tmp_path / "aof"
    with EmbeddedRedis(server=binary, port=0, directory=data, config={"appendfsync": "always"}) as running:
        yield running


def fallback_for(app: Celery) -> Fallback:
    """What an app falls back on."""
    return fallback_of(app)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("confirm", ["queued", "claimed", "started", "acked"])
def test_a_message_that_redis_is_not_there_to_take_is_spooled(away: Celery, prefix: str, confirm: Any) -> None:
    """Whatever was to be confirmed; its receipt says so, here and from another process of this host."""
    with telemetry.capture("hardening.message") as events:
        receipt = supervised_send("add", (1, 2), app=away, confirm=confirm)
    assert receipt.status() == "spooled"
    (event,) = events
    assert isinstance(event, MessageSpooled)
    assert (event.receipt, event.task, event.queue) == (receipt.id, "add", f"{prefix}.q")
    assert "Connection refused" in event.why
    assert receipt.details() == {
        "task": "add", "task_id": receipt.id, "guarantee": "at_least_once", "queue": f"{prefix}.q", "state": "spooled",
    }  # fmt: skip
    assert Receipt.load(receipt.id, app=app_for(AWAY, prefix)).status() == "spooled"
    with pytest.raises(RedisError):
        Receipt.load("r" * 36, app=away)
    (spooled,) = fallback_for(away).spool.batch()
    assert json.loads(base64.b64decode(json.loads(spooled.publication.raw)["body"]))[0] == [1, 2]
    assert not spooled.is_uncertain


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("results", [AWAY, "sentinel://127.0.0.1:1/0"])
def test_results_that_nobody_can_keep_do_not_hold_up_a_send(prefix: str, results: str) -> None:
    """They are mostly kept by the very Redis that is away."""
    away = app_for(AWAY, prefix, result_backend=results, result_backend_transport_options={"master_name": "m"})

    @away.task(shared=False, ignore_result=False)
    def answer(question: str) -> str:
        return question

    since_s = boot_clock_s()
    sent = [supervised_send(answer, ("why",)), supervised_send(answer.s("how"), priority=3)]
    sent += send_many(answer, [("who",)])
    assert boot_clock_s() - since_s < 10
    assert [one.status() for one in sent] == ["spooled"] * 3
    assert len(receipts(fallback_for(away).spool)) == 3


@pytest.mark.parametrize("on_error", ["raise", "log", "ignore"])
def test_nothing_is_spooled_that_was_not_asked_for(away: Celery, on_error: Any) -> None:
    """Its sender may have another plan."""
    try:
        supervised_send("add", app=away, on_error=on_error)
    except PublishFailed:
        assert on_error == "raise"
    assert not fallback_for(away).spool.path.exists()


def test_it_is_flushed_by_itself_when_redis_is_back(own: EmbeddedRedis, prefix: str) -> None:
    """In the order of the sends; the receipts follow."""
    app = app_for(own.broker_url, prefix)
    own.kill()
    sent = [supervised_send("add", (at,), app=app, retries=0) for at in range(20)]
    assert {receipt.status() for receipt in sent} == {"spooled"}
    own.restart()
    assert sent[-1].wait("queued", 20) == "queued"
    with own.client() as client:
        assert Stage(client, prefix).state() == State(queued={"q": [receipt.id for receipt in sent]}, rung={"q"})
        assert Stage(client, prefix).ledger().counters == {"published": 20}
    eventually(lambda: not receipts(fallback_for(app).spool))
    assert {receipt.status() for receipt in sent} == {"queued"}
    assert [change.state for change in sent[0].history()] == ["queued"]


@pytest.mark.usefixtures("quiet")
def test_a_waiter_learns_that_it_is_still_spooled(own: EmbeddedRedis, prefix: str) -> None:
    """Redis is back, the flusher has not been here yet: nothing is lost, and nothing unknown."""
    app = app_for(own.broker_url, prefix)
    own.kill()
    receipt = supervised_send("add", app=app, retries=0)
    own.restart()
    assert receipt.status() == "spooled"
    with pytest.raises(ConfirmTimeout) as raised:
        receipt.wait("queued", 0.2)
    assert raised.value.state == "spooled"
    assert fallback_for(app).flusher.run_once() == Report(flushed=1)
    assert receipt.wait("queued", 5) == "queued"
    with pytest.raises(ReceiptNotFound):
        Receipt("r" * 36, app).wait("queued", 0.05)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("later", [{}, {"countdown": 3600}], ids=["now", "later"])
@pytest.mark.parametrize("after_reply", [True, False], ids=["reply-lost", "call-lost"])
def test_a_send_that_may_have_succeeded_is_one_message(
    own: EmbeddedRedis, prefix: str, later: dict[str, Any], *, after_reply: bool
) -> None:
    """The sender cannot know, and spools; the flush finds the receipt, or publishes. Never two, never none."""
    with Proxy(own.broker_url) as proxy, own.client() as client:
        app = app_for(proxy.url, prefix)
        supervised_send("warm", app=app)
        proxy.cut_when(Script.load("publish").sha.encode(), after_reply=after_reply)
        receipt = supervised_send("add", app=app, retries=0, **later)
        fallback = fallback_for(app)
        (spooled,) = fallback.spool.batch()
        assert spooled.is_uncertain
        known = ("scheduled" if later else "queued") if after_reply else "spooled"
        assert receipt.status() == known
        assert fallback.flusher.run_once() == Report(flushed=1, repeated=int(after_reply))
        stage = Stage(client, prefix)
        assert stage.ledger().counters == {"published": 2}
        assert len(stage.state().everywhere()) == 2
        assert [change.state for change in receipt.history()] == ["scheduled" if later else "queued"]


@pytest.mark.usefixtures("quiet")
def test_an_eta_that_passed_meanwhile_is_due_and_what_expired_is_buried(own: EmbeddedRedis, prefix: str) -> None:
    """The flush judges neither: a worker buries, with its reason."""
    app = app_for(own.broker_url, prefix)
    own.kill()
    past = datetime.now(UTC) - timedelta(seconds=5)
    due = supervised_send("add", app=app, retries=0, countdown=0.2)
    stale = supervised_send("add", app=app, retries=0, expires=past)
    later = supervised_send("add", app=app, retries=0, countdown=3600)
    own.restart()
    eventually(lambda: fallback_for(app).spool.messages()[0].age_s > 0.3)
    assert fallback_for(app).flusher.run_once() == Report(flushed=3)
    with own.client() as client:
        state = Stage(client, prefix).state()
        assert (state.queued, state.scheduled) == ({"q": [due.id, stale.id]}, [later.id])
    undertaker = Undertaker(app)
    expires = [json.loads(message.raw)["headers"]["expires"] for message in undertaker.take()]
    assert expires[0] is None
    assert datetime.fromisoformat(expires[1]) == past


@pytest.mark.usefixtures("quiet")
def test_a_spool_without_room_is_told(prefix: str) -> None:
    """The message is nowhere safe; those before it are."""
    app = app_for(AWAY, prefix, hardening_spool_max_messages=1)
    first = supervised_send("add", app=app, retries=0)
    with pytest.raises(SpoolFull, match="has no room for a message of") as raised:
        supervised_send("add", app=app, retries=0)
    assert raised.value.messages == 1
    assert raised.value.__cause__ is not None
    assert receipts(fallback_for(app).spool) == [first.id]


def test_a_spool_that_cannot_be_written_is_told(prefix: str, tmp_path: Path) -> None:
    """With both reasons."""
    (tmp_path / "file").write_text("")
    app = app_for(AWAY, prefix, hardening_spool_path=str(tmp_path / "file" / "a.spool"))
    with pytest.raises(PublishFailed) as raised:
        supervised_send("add", app=app, retries=0)
    assert "Connection refused" in str(raised.value)
    assert f"; nor was it spooled: the spool {tmp_path}/file/a.spool cannot be opened" in str(raised.value)
    assert isinstance(raised.value.__cause__, SpoolError)


def test_a_spool_that_cannot_be_read_hides_nothing_that_redis_knows(app: Celery, tmp_path: Path) -> None:
    """Redis is asked all the same; only what neither knows is told as it is."""
    receipt = supervised_send("add", app=app)
    path = fallback_for(app).spool.path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"junk" * 2000)
    assert receipt.status() == "queued"
    with pytest.raises(SpoolError, match="damaged"):
        Receipt("r" * 36, app).status()
    assert tmp_path in path.parents


def test_what_redis_refuses_is_not_spooled(own: EmbeddedRedis, prefix: str) -> None:
    """It is there, and says no: a full Redis, or a key of another type. Neither leaves anything behind."""
    app = app_for(own.broker_url, prefix)
    with own.client() as client:
        client.set(f"{prefix}.q", "a string")
        with pytest.raises(PublishFailed, match="WRONGTYPE"):
            supervised_send("add", app=app)
        assert client.keys(f"{prefix}*") == [f"{prefix}.q".encode()]
        client.delete(f"{prefix}.q")
        client.config_set("maxmemory", 1)
        with pytest.raises(PublishFailed, match="OutOfMemory"):
            supervised_send("add", app=app)
        assert client.keys(f"{prefix}*") == []
    assert not fallback_for(app).spool.path.exists()
