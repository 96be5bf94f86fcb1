"""What a send from a coroutine does besides the publication: in its loop, not in a thread, and as the other send."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from celery import signals
from redis.exceptions import TimeoutError as RedisTimeoutError

from hardening import asupervised_send, supervised_send
from hardening.core.errors import ConfirmTimeout, MessageDied, PublishFailed, ReceiptNotFound
from hardening.core.membership import boot_clock_s
from hardening.delivery.async_client import pool_of
from hardening.delivery.fallback import fallback_of
from hardening.delivery.receipt import Receipt
from hardening.transport.producers import Producer
from tests.eventually import eventually
from tests.faults.proxy import Proxy
from tests.integration.acting import ACTS, WORKER, act
from tests.integration.coroutines import run, threadless, until
from tests.integration.spooling import AWAY, app_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery

    from hardening.core.embedded import EmbeddedRedis
    from tests.integration.stage import Stage

pytestmark = pytest.mark.one_server

_SIGNALS = ("before_task_publish", "after_task_publish", "task_sent")


@contextmanager
def heard(look: Callable[[], int]) -> Iterator[list[tuple[str, dict[str, Any], int, int]]]:
    """What is said by signals, with what there was to see then, and in which thread."""
    told: list[tuple[str, dict[str, Any], int, int]] = []

    def hear(name: str) -> Callable[..., None]:
        def receiver(**facts: Any) -> None:
            del facts["signal"]
            told.append((name, facts, look(), threading.get_ident()))

        return receiver

    receivers = {name: hear(name) for name in _SIGNALS}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, weak=False)
    try:
        yield told
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)


def send_of(way: str, add: Any) -> tuple[Any, tuple[Any, ...]]:
    """A task, as it may be named, and its arguments."""
    return {"task": (add, (1, 2)), "name": ("elsewhere", (1, 2)), "signature": (add.s(1), (0,))}[way]


@pytest.mark.parametrize("way", ["task", "name", "signature"])
def test_what_celery_says_of_a_publication_is_said_when_it_is_true(way: str, add: Any, stage: Stage) -> None:
    """Word for word what it says of the other send, here, and in no thread."""
    app, (task, args) = add.app, send_of(way, add)
    options: dict[str, Any] = {"app": app, "headers": {"mine": 1}, "task_id": "the-task", "on_error": "raise"}
    options["eta"] = None
    with heard(lambda: stage.client.llen(stage.list_key())) as told:
        supervised_send(task, args, **options)

        async def sends() -> None:
            await pool_of(app)
            with threadless():
                await asupervised_send(task, args, **options)

        run(sends())
    first, second = told[:3], told[3:]
    assert [name for name, *_ in first] == list(_SIGNALS)
    assert [depth for _, _, depth, _ in told] == [0, 1, 1, 1, 2, 2]
    assert {thread for *_, thread in told} == {threading.get_ident()}
    for mine, theirs in zip(second, first, strict=True):
        assert (mine[0], shown(mine[1])) == (theirs[0], shown(theirs[1]))


def shown(facts: dict[str, Any]) -> dict[str, Any]:
    """What a signal said, without the ids that are new each time."""
    return {
        name: {key: value for key, value in fact.items() if key not in ("hardening_receipt", "origin")}
        if isinstance(fact, dict) and name == "headers"
        else fact
        for name, fact in facts.items()
        if name != "properties"
    }


def test_what_is_not_published_is_not_told_of(prefix: str) -> None:
    """Nor what is spooled: as with the other send."""
    app = app_for(AWAY, prefix)
    with heard(lambda: 0) as told:
        run(asupervised_send("add", app=app, retries=0))
        with pytest.raises(PublishFailed):
            run(asupervised_send("add", app=app, retries=0, on_error="raise"))
    assert [name for name, *_ in told] == ["before_task_publish"] * 2


def test_what_is_sent_meanwhile_is_told_of_at_once(add: Any, stage: Stage) -> None:
    """By a receiver that itself sends, stock: only what is to be published later is kept back."""
    app, busy = add.app, threading.Event()

    def audit(sender: str, **_: Any) -> None:
        if sender != "audit" and not busy.is_set():
            busy.set()
            app.send_task("audit")
            told.append(("sent", {"sender": "audit"}, 0, 0))

    with heard(lambda: stage.client.llen(stage.list_key())) as told:
        signals.before_task_publish.connect(audit)
        try:
            run(asupervised_send("add", app=app))
        finally:
            signals.before_task_publish.disconnect(audit)
    order = [(name, facts["sender"]) for name, facts, *_ in told]
    assert order.index(("after_task_publish", "audit")) < order.index(("sent", "audit"))
    assert order[-2:] == [("after_task_publish", "add"), ("task_sent", "add")]


def test_monitors_are_told_after_the_publication(add: Any, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Celery's own event, which blocks: it is the one thing that a thread says."""
    add.app.conf.task_send_sent_event = True
    told: list[tuple[str, str, int, bool]] = []
    publish: Any = Producer.publish

    def listened(self: Any, body: Any, **options: Any) -> Any:
        here = threading.current_thread() is threading.main_thread()
        told.append((body["type"], body["uuid"], stage.client.llen(stage.list_key()), here))
        return publish(self, body, **options)

    monkeypatch.setattr(Producer, "publish", listened)
    receipt = run(asupervised_send(add, (1, 2)))
    assert told == [("task-sent", receipt.id, 1, False)]
    assert supervised_send(add, (1, 2)).id == told[1][1]
    assert told[1][2:] == (2, True)


@pytest.mark.parametrize("confirm", ["claimed", "started", "acked"])
def test_a_worker_is_waited_for_without_a_thread(
    shop: Celery, stage: Stage, confirm: Any, server: EmbeddedRedis
) -> None:
    """Two hundred at once, of whom some have a connection to listen on, and others ask again."""

    async def sends() -> list[Any]:
        await pool_of(shop)
        await pool_of(shop, listens=True)
        fallback_of(shop)

        async def work() -> None:
            await until(lambda: stage.client.llen(stage.list_key()) == 200)
            for at in range(200):
                await asyncio.sleep(0)
                act(stage, stage.list_key(), f"t{at}", *ACTS)

        stage.join(WORKER)
        with threadless():
            options: dict[str, Any] = {"confirm": confirm, "on_error": "raise", "timeout": 30}
            sending = [asupervised_send("add", app=shop, task_id=f"t{at}", **options) for at in range(200)]
            *receipts, _ = await asyncio.gather(*sending, work())
            return receipts

    receipts = run(sends())
    assert all(confirm in [change.state for change in receipt.history()] for receipt in receipts)
    assert len(receipts) == 200
    with server.client() as client:
        eventually(lambda: client.info("clients")["blocked_clients"] == 0)


def test_a_wait_ends_as_the_other_does(shop: Celery, stage: Stage) -> None:
    """In time, dead, with nothing to follow, of what makes no sense, and of what ran here."""
    stage.join(WORKER)

    async def waits() -> None:
        receipt = await asupervised_send("add", app=shop, task_id="the-task")
        assert await receipt.await_until("queued", timeout=0) == "queued"
        began_s = boot_clock_s()
        with pytest.raises(ConfirmTimeout, match="not acked, after"):
            await receipt.await_until(timeout=0.2)
        assert 0.19 < boot_clock_s() - began_s < 5
        waiting = asyncio.create_task(receipt.await_until("acked", timeout=30))
        await asyncio.to_thread(eventually, lambda: stage.client.info("clients")["blocked_clients"] >= 1)
        act(stage, stage.list_key(), "the-task", "take", "bury")
        with pytest.raises(MessageDied):
            await waiting
        with pytest.raises(ReceiptNotFound):
            await Receipt("nobody", shop).await_until(timeout=0.1)
        with pytest.raises(ValueError, match="cannot wait for 'scheduled'"):
            await receipt.await_until("scheduled")

    run(waits())


def test_what_is_not_confirmed_is_told_as_was_asked(shop: Celery, caplog: pytest.LogCaptureFixture) -> None:
    """It is safe: an error only to whoever asked for one."""
    with pytest.raises(ConfirmTimeout):
        run(asupervised_send("add", app=shop, confirm="acked", timeout=0.5, on_error="raise"))
    assert run(asupervised_send("add", app=shop, confirm="acked", timeout=0.5)).status() == "queued"
    assert caplog.messages == []
    run(asupervised_send("add", app=shop, confirm="acked", timeout=0.5, on_error="log"))
    assert ["not acked, after" in text for text in caplog.messages] == [True]


def test_who_waits_is_in_nobodys_way(shop: Celery, stage: Stage) -> None:
    """A hundred wait, some with a connection that they block, and sends have all of theirs."""

    async def sends() -> int:
        receipt = await asupervised_send("add", app=shop)
        waiting = [asyncio.create_task(receipt.await_until(timeout=60)) for _ in range(100)]
        pools = [await pool_of(shop), await pool_of(shop, listens=True)]
        await until(lambda: len(pools[1]._in_use_connections) == 64)
        await until(lambda: stage.client.info("clients")["blocked_clients"] > 32)
        began_s = boot_clock_s()
        await asyncio.gather(*(asupervised_send("add", app=shop, on_error="raise") for _ in range(50)))
        assert boot_clock_s() - began_s < 5
        assert not any(one.done() for one in waiting)
        for one in waiting:
            one.cancel()
        async with asyncio.timeout(20):
            ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in ended] == [asyncio.CancelledError] * 100
        return sum(len(pool._in_use_connections) for pool in pools)

    assert run(sends()) == 0


def test_a_cancelled_wait_leaves_nothing_behind(shop: Celery, stage: Stage) -> None:
    """Neither an answer that somebody else would read, nor a connection that nobody uses."""

    async def waits() -> Any:
        receipt = await asupervised_send("add", app=shop, task_id="the-task")
        waiting = [asyncio.create_task(receipt.await_until(timeout=30)) for _ in range(3)]
        await asyncio.to_thread(eventually, lambda: stage.client.info("clients")["blocked_clients"] >= 3)
        for one in waiting:
            one.cancel()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in ended] == [asyncio.CancelledError] * 3
        pool = await pool_of(shop, listens=True)
        assert not pool._in_use_connections
        stage.join(WORKER)
        act(stage, stage.list_key(), "the-task", *ACTS)
        return await receipt.await_until(timeout=20)

    assert run(waits()) == "acked"


def test_a_wait_outlives_a_cut_and_a_silence(server: EmbeddedRedis, stage: Stage) -> None:
    """It looks again; and a Redis that says nothing is not waited for any longer than was said."""

    async def waits(proxy: Proxy) -> Any:
        app = app_for(proxy.url, stage.prefix)
        receipt = await asupervised_send("add", app=app, task_id="the-task")
        waiting = asyncio.create_task(receipt.await_until(timeout=30))
        await asyncio.to_thread(eventually, lambda: stage.client.info("clients")["blocked_clients"] >= 1)
        proxy.cut()
        act(stage, stage.list_key(), "the-task", *ACTS)
        assert await waiting == "acked"
        proxy.swallow()
        began_s = boot_clock_s()
        with pytest.raises(Exception, match="did not answer in time"):
            await receipt.await_until(timeout=0.3)
        return boot_clock_s() - began_s

    stage.join(WORKER)
    with Proxy(server.broker_url) as proxy:
        assert run(waits(proxy)) < 4


@pytest.mark.usefixtures("quiet")
def test_a_waiter_learns_that_it_is_still_spooled(own_server: EmbeddedRedis, prefix: str) -> None:
    """Redis is back, the flusher has not been here yet: nothing is lost, and nothing unknown."""
    app = app_for(own_server.broker_url, prefix)
    own_server.kill()

    async def waits() -> None:
        receipt = await asupervised_send("add", app=app, retries=0)
        with pytest.raises(RedisTimeoutError):
            await receipt.await_until("queued", timeout=0.2)
        await asyncio.to_thread(own_server.restart)
        with pytest.raises(ConfirmTimeout) as raised:
            await receipt.await_until("queued", timeout=0.2)
        assert raised.value.state == "spooled"
        waiting = asyncio.create_task(receipt.await_until("queued", timeout=20))
        await asyncio.to_thread(fallback_of(app).flusher.run_once)
        assert await waiting == "queued"

    run(waits())
