"""confirm="replicated" from a coroutine: the same, and nothing of it in a thread."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from hardening import asupervised_send
from hardening.core.errors import ConfigError, NotReplicated
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import Script
from hardening.delivery.async_client import pool_of
from tests.faults.proxy import Proxy
from tests.integration.coroutines import run, threadless
from tests.integration.spooling import app_for
from tests.integration.stage import Stage

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server


@pytest.fixture
def shop(master: EmbeddedRedis, prefix: str) -> Celery:
    """An app of the master."""
    return app_for(master.broker_url, prefix)


async def replicated(app: Celery, **options: Any) -> Any:
    """One send that replicas must have."""
    said: dict[str, Any] = {"confirm": "replicated", "on_error": "raise", **options}
    return await asupervised_send("add", app=app, **said)


def test_what_replicas_have_is_told_without_a_thread(
    shop: Celery, master: EmbeddedRedis, replica: EmbeddedRedis, prefix: str
) -> None:
    """And they do have it; too few of them are counted, and told as was asked. Many may wait at once."""

    async def sends() -> tuple[list[Any], Any, Any]:
        await asupervised_send("warm", app=shop)
        with threadless():
            had = await asyncio.gather(*(replicated(shop) for _ in range(50)))
            plain = await asupervised_send("add", app=shop)
            with pytest.raises(NotReplicated) as raised:
                await replicated(shop, replicas=2, timeout=0.3)
            assert (raised.value.asked, raised.value.replicas) == (2, 1)
            return had, plain, await replicated(shop, replicas=2, timeout=0.3, on_error="log")

    had, plain, short = run(sends())
    assert [receipt.replicas for receipt in (*had, plain, short)] == [1] * 50 + [None, 1]
    with replica.client() as client, master.client() as written:
        assert {receipt.id for receipt in (*had, short)} <= set(Stage(client, prefix).state().queued["q"])
        assert Stage(written, prefix).ledger().counters == {"published": 54}


def test_a_replica_that_does_not_answer_is_waited_for_in_time(
    master: EmbeddedRedis, replica: EmbeddedRedis, prefix: str
) -> None:
    """Longer than a socket is patient, on the same connection, while the loop goes on; then told."""
    shop = app_for(master.broker_url, prefix, hardening_socket_timeout_s=0.5)

    async def sends() -> Any:
        await replicated(shop)
        os.kill(replica.pid, signal.SIGSTOP)
        ticks, began_s = 0, boot_clock_s()
        sending = asyncio.create_task(replicated(shop, timeout=1.0))
        while not sending.done():
            await asyncio.sleep(0.01)
            ticks += 1
        with pytest.raises(NotReplicated) as raised:
            await sending
        took_s = boot_clock_s() - began_s
        asyncio.get_running_loop().call_later(1.2, os.kill, replica.pid, signal.SIGCONT)
        return raised.value.replicas, took_s, ticks, await replicated(shop, timeout=20)

    reached, took_s, ticks, receipt = run(sends())
    assert (reached, receipt.replicas) == (0, 1)
    assert 0.9 < took_s < 4
    assert ticks > 20
    with master.client() as client:
        assert Stage(client, prefix).ledger().counters == {"published": 3}


def test_a_repeat_waits_for_the_first_attempt(master: EmbeddedRedis, replica: EmbeddedRedis, prefix: str) -> None:
    """It writes nothing itself, and on a new connection there is nothing to wait for: so something is written."""

    async def sends(proxy: Proxy) -> Any:
        shop = app_for(proxy.url, prefix)
        await replicated(shop)
        os.kill(replica.pid, signal.SIGSTOP)
        proxy.cut_when(Script.load("publish").sha.encode(), after_reply=True)
        return await replicated(shop, timeout=1, on_error="dead_letter")

    with Proxy(master.broker_url) as proxy:
        assert run(sends(proxy)).replicas == 0
    with master.client() as client:
        assert Stage(client, prefix).ledger().counters == {"published": 2, "repeats": 1}


@pytest.mark.parametrize("fault", ["cut", "silence", "cancelled"])
def test_a_connection_that_breaks_while_it_waits_knows_of_no_replica(
    master: EmbeddedRedis, replica: EmbeddedRedis, prefix: str, fault: str
) -> None:
    """The message is published, once, and not published again to find out; no later send reads its answer."""
    assert replica.pid

    async def sends(proxy: Proxy) -> Any:
        shop = app_for(proxy.url, prefix, hardening_socket_timeout_s=0.5)
        await replicated(shop)
        (connection,) = (await pool_of(shop))._available_connections
        if fault == "cut":
            proxy.cut_when(b"WAIT", after_reply=False)
        else:
            proxy.hold(b"WAIT")
        sending = asyncio.create_task(replicated(shop))
        if fault == "cancelled":
            await asyncio.sleep(0.2)
            sending.cancel()
        with pytest.raises((NotReplicated, asyncio.CancelledError)) as raised:
            await sending
        assert isinstance(raised.value, NotReplicated) == (fault != "cancelled")
        assert not connection.is_connected
        proxy.release()
        return await replicated(shop)

    with Proxy(master.broker_url) as proxy:
        assert run(sends(proxy)).replicas == 1
    with master.client() as client:
        assert Stage(client, prefix).ledger().counters == {"published": 3}


def test_a_server_that_cannot_tell_what_is_on_disk_is_refused(shop: Celery) -> None:
    """Only where that is asked for."""
    with pytest.raises(ConfigError, match=r"on_disk=True needs WAITAOF, of Redis 7\.2"):
        run(replicated(shop, on_disk=True))


def test_the_same_words_make_no_sense(shop: Celery) -> None:
    """As to the other send."""
    with pytest.raises(ValueError, match="expected 'replicated' with replicas or on_disk"):
        run(asupervised_send("add", app=shop, on_disk=True))
