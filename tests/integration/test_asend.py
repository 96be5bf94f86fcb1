"""asupervised_send: the same from a coroutine, without holding up its loop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from hardening import asupervised_send
from hardening.core.embedded import EmbeddedRedis
from hardening.core.errors import BreakerOpen, PublishFailed
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import Script
from hardening.delivery import async_client
from hardening.delivery.async_client import pool_of
from hardening.delivery.fallback import fallback_of
from hardening.delivery.spool import Spool
from tests.faults.proxy import Proxy
from tests.integration.coroutines import arun as run
from tests.integration.spooling import AWAY, app_for, receipts
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from celery import Celery

pytestmark = pytest.mark.one_server


@pytest.fixture
def shop(server: EmbeddedRedis, prefix: str) -> Celery:
    """An app on the stage's queue."""
    return app_for(server.broker_url, prefix)


def test_two_hundred_sends_at_once_are_two_hundred_messages(shop: Celery, stage: Stage) -> None:
    """Each with its receipt, over no more connections than a loop may have."""

    async def all_of_them() -> Any:
        sent = await asyncio.gather(*(asupervised_send("add", (n,), app=shop, on_error="raise") for n in range(200)))
        pool = await pool_of(shop)
        return sent, len(pool._available_connections) + len(pool._in_use_connections)

    sent, connections = run(shop, all_of_them())
    state = stage.state()
    assert sorted(state.queued["q"]) == sorted(receipt.id for receipt in sent)
    assert state == State(queued={"q": state.queued["q"]}, rung={"q"})
    assert connections <= 32
    assert stage.ledger().counters == {"published": 200}


def test_the_connections_of_a_loop_are_closed_with_it(shop: Celery) -> None:
    """Whoever ends the loop properly need do nothing else, and nothing is kept of it."""
    loops = len(async_client._POOLS)

    async def sends() -> list[Any]:
        await asyncio.gather(*(asupervised_send("add", app=shop, on_error="raise") for _ in range(3)))
        connections: list[Any] = list((await pool_of(shop))._available_connections)
        assert any(connection.is_connected for connection in connections)
        return connections

    for _ in range(2):
        assert not any(connection.is_connected for connection in asyncio.run(sends()))
    assert len(async_client._POOLS) <= loops
    assert len(async_client._ENDS) <= loops


def test_an_idempotency_key_and_options_mean_the_same(shop: Celery, stage: Stage) -> None:
    """As for the other send."""

    async def twice() -> Any:
        sends = [asupervised_send("add", app=shop, idempotency_key="k", delay=3600) for _ in range(20)]
        return await asyncio.gather(*sends)

    sent = run(shop, twice())
    assert len({receipt.id for receipt in sent}) == 1
    assert stage.state() == State(scheduled=[sent[0].id], rung={"q"})
    with pytest.raises(TypeError, match="did you mean queue"):
        asyncio.run(asupervised_send("add", app=shop, que="x"))


@pytest.mark.usefixtures("quiet")
def test_while_redis_is_away_it_is_spooled(prefix: str) -> None:
    """And told otherwise, where that was asked for; the breaker is that of all sends."""
    app = app_for(AWAY, prefix)
    receipt = run(app, asupervised_send("add", app=app, retries=1))
    assert receipts(fallback_of(app).spool) == [receipt.id]
    with pytest.raises(PublishFailed) as raised:
        run(app, asupervised_send("add", app=app, retries=2, on_error="raise"))
    assert raised.value.attempts == 3
    with pytest.raises(PublishFailed) as raised:
        run(app, asupervised_send("add", app=app, on_error="raise"))
    assert isinstance(raised.value.__cause__, BreakerOpen)


def test_the_disk_is_first_looked_at_in_a_thread(
    server: EmbeddedRedis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where others are writing to the spool that may take seconds; once for a process."""
    looks: list[int] = []
    totals = Spool.totals

    def look(spool: Spool) -> Any:
        looks.append(threading.get_ident())
        return totals(spool)

    monkeypatch.setattr(Spool, "totals", look)
    app = app_for(server.broker_url, prefix)
    for _ in range(2):
        run(app, asupervised_send("add", app=app))
    assert len(looks) == 1
    assert threading.get_ident() not in looks


def test_a_redis_that_says_nothing_is_waited_for_in_time(own_server: EmbeddedRedis, prefix: str) -> None:
    """And the loop goes on meanwhile."""
    app = app_for(own_server.broker_url, prefix)

    async def ticking() -> tuple[int, float]:
        ticks, began_s = 0, boot_clock_s()
        send = asyncio.create_task(asupervised_send("add", app=app, timeout=0.5, on_error="raise"))
        while not send.done():
            await asyncio.sleep(0.01)
            ticks += 1
        with pytest.raises(PublishFailed):
            await send
        return ticks, boot_clock_s() - began_s

    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        ticks, took_s = run(app, ticking())
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    assert took_s < 3
    assert ticks > 20


def test_a_cancelled_send_leaves_no_answer_behind(own_server: EmbeddedRedis, prefix: str) -> None:
    """The next send over the pool reads its own."""
    app = app_for(own_server.broker_url, prefix)

    async def cancelled() -> tuple[list[Any], list[Any]]:
        await asupervised_send("warm", app=app, idempotency_key="warm")
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            sends = [asyncio.create_task(asupervised_send("add", app=app, idempotency_key="k")) for _ in range(10)]
            await asyncio.sleep(0.2)
            for send in sends:
                send.cancel()
            ended = await asyncio.gather(*sends, return_exceptions=True)
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        return ended, [await asupervised_send("next", app=app, on_error="raise") for _ in range(20)]

    ended, after = run(app, cancelled())
    assert [type(one) for one in ended] == [asyncio.CancelledError] * 10
    assert len({receipt.id for receipt in after}) == 20
    assert {receipt.details()["task"] for receipt in after} == {"next"}
    with own_server.client() as client:
        ledger = Stage(client, prefix).ledger()
    assert ledger.counters["published"] in (21, 22)


@pytest.mark.parametrize("after_reply", [True, False], ids=["reply-lost", "call-lost"])
def test_a_retry_of_the_same_send_is_no_second_message(
    server: EmbeddedRedis, stage: Stage, *, after_reply: bool
) -> None:
    """Whether the first attempt was heard or not."""
    with Proxy(server.broker_url) as proxy:
        app = app_for(proxy.url, stage.prefix)

        async def both() -> Any:
            warm = await asupervised_send("warm", app=app)
            proxy.cut_when(Script.load("publish").sha.encode(), after_reply=after_reply)
            return warm, await asupervised_send("add", app=app, on_error="raise")

        warm, receipt = run(app, both())
    assert stage.state() == State(queued={"q": [warm.id, receipt.id]}, rung={"q"})


def test_of_several_brokers_the_next_is_turned_to(server: EmbeddedRedis, stage: Stage) -> None:
    """By the same send, though it has connections to the one that went."""

    async def both() -> list[str]:
        with Proxy(server.broker_url) as proxy:
            app.conf["broker_url"] = f"{proxy.url};{server.broker_url}"
            warm = await asyncio.gather(*(asupervised_send("warm", app=app, on_error="raise") for _ in range(3)))
            pool = await pool_of(app)
            connections = [*pool._available_connections]
        sent = [*warm, await asupervised_send("add", app=app, on_error="raise")]
        assert len(connections) > 1
        assert not any(connection.is_connected for connection in connections)
        return [receipt.id for receipt in sent]

    app = app_for(AWAY, stage.prefix)
    ids = run(app, both())
    assert sorted(stage.state().queued["q"]) == sorted(ids)


def test_a_unix_socket_is_one_for_the_loop_as_well(binary: str, prefix: str) -> None:
    """The embedded Redis listens on nothing else by default."""
    with EmbeddedRedis(server=binary) as own, own.client() as client:
        app = app_for(own.broker_url, prefix)
        receipt = run(app, asupervised_send("add", app=app, on_error="raise"))
        assert Stage(client, prefix).state() == State(queued={"q": [receipt.id]}, rung={"q"})
