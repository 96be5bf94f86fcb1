"""confirm="replicated": the send returns when replicas have the message, and says how many do."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from hardening import supervised_send
from hardening.core.deployment import client_of
from hardening.core.errors import ConfigError, NotReplicated
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import Script
from tests.faults.proxy import Proxy
from tests.integration.spooling import AWAY, app_for
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.embedded import EmbeddedRedis


@pytest.fixture
def shop(master: EmbeddedRedis, prefix: str) -> Celery:
    """An app of the master."""
    return app_for(master.broker_url, prefix)


def test_what_replicas_have_is_told(shop: Celery, replica: EmbeddedRedis, prefix: str) -> None:
    """And they do have it."""
    receipt = supervised_send("add", app=shop, confirm="replicated", on_error="raise")
    assert receipt.replicas == 1
    with replica.client() as client:
        assert Stage(client, prefix).state() == State(queued={"q": [receipt.id]}, rung={"q"})
    assert supervised_send("add", app=shop).replicas is None


@pytest.mark.parametrize("on_error", ["raise", "log", "ignore", "dead_letter"])
def test_a_replica_that_does_not_answer_is_told_as_was_asked(
    shop: Celery, master: EmbeddedRedis, replica: EmbeddedRedis, prefix: str, on_error: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Within the time of the send; the message is with Redis all the same, once."""
    supervised_send("warm", app=shop, confirm="replicated", on_error="raise")
    os.kill(replica.pid, signal.SIGSTOP)
    began_s = boot_clock_s()
    with caplog.at_level(logging.WARNING):
        if on_error == "raise":
            with pytest.raises(NotReplicated) as raised:
                supervised_send("add", app=shop, confirm="replicated", timeout=0.4, on_error=on_error)
            assert (raised.value.asked, raised.value.replicas) == (1, 0)
        else:
            receipt = supervised_send("add", app=shop, confirm="replicated", timeout=0.4, on_error=on_error)
            assert (receipt.replicas, receipt.status()) == (0, "queued")
    assert 0.3 < boot_clock_s() - began_s < 3
    assert ["is on 0 replica(s), not 1" in text for text in caplog.messages] == [True] * (on_error == "log")
    with master.client() as client:
        assert Stage(client, prefix).ledger().counters == {"published": 2}


def test_too_few_replicas_are_counted(shop: Celery, replica: EmbeddedRedis) -> None:
    """The receipt says how far it got."""
    assert replica.pid
    receipt = supervised_send("add", app=shop, confirm="replicated", replicas=2, timeout=2.0)
    assert receipt.replicas == 1


def test_a_wait_may_be_longer_than_a_socket_is_patient(
    master: EmbeddedRedis, replica: EmbeddedRedis, prefix: str
) -> None:
    """It asks again, on the same connection; a replica that comes back in time counts."""
    import threading  # noqa: PLC0415

    shop = app_for(master.broker_url, prefix, hardening_socket_timeout_s=0.5)
    supervised_send("warm", app=shop, confirm="replicated", on_error="raise")
    os.kill(replica.pid, signal.SIGSTOP)
    waker = threading.Timer(1.2, os.kill, (replica.pid, signal.SIGCONT))
    waker.start()
    receipt = supervised_send("add", app=shop, confirm="replicated", timeout=20, on_error="raise")
    waker.join()
    assert receipt.replicas == 1


def test_a_repeat_waits_for_the_first_attempt(master: EmbeddedRedis, replica: EmbeddedRedis, prefix: str) -> None:
    """It writes nothing itself, and on a new connection there is nothing to wait for."""
    with Proxy(master.broker_url) as proxy:
        shop = app_for(proxy.url, prefix)
        supervised_send("warm", app=shop, confirm="replicated", on_error="raise")
        os.kill(replica.pid, signal.SIGSTOP)
        proxy.cut_when(Script.load("publish").sha.encode(), after_reply=True)
        receipt = supervised_send("add", app=shop, confirm="replicated", timeout=1)
    assert receipt.replicas == 0
    with master.client() as client:
        assert Stage(client, prefix).ledger().counters == {"published": 2, "repeats": 1}


@pytest.mark.parametrize("fault", ["cut", "silence"])
def test_a_connection_that_breaks_while_it_waits_knows_of_no_replica(
    master: EmbeddedRedis, replica: EmbeddedRedis, prefix: str, fault: str
) -> None:
    """The message is published, once, and not published again to find out; the connection is not used again."""
    assert replica.pid
    with Proxy(master.broker_url) as proxy:
        shop = app_for(proxy.url, prefix, hardening_socket_timeout_s=0.5)
        supervised_send("warm", app=shop, confirm="replicated", on_error="raise")
        pool: Any = client_of(shop).connection_pool
        (connection,) = pool._available_connections
        if fault == "cut":
            proxy.cut_when(b"WAIT", after_reply=False)
        else:
            proxy.hold(b"WAIT")
        with pytest.raises(NotReplicated) as raised:
            supervised_send("add", app=shop, confirm="replicated", on_error="raise")
        assert raised.value.replicas == 0
        assert not connection.is_connected
        proxy.release()
        receipt = supervised_send("next", app=shop, confirm="replicated", on_error="raise")
        assert receipt.replicas == 1
    with master.client() as client:
        assert Stage(client, prefix).ledger().counters == {"published": 3}


def test_what_is_spooled_is_on_no_replica(prefix: str) -> None:
    """Nobody can say how many will have it."""
    receipt = supervised_send("add", app=app_for(AWAY, prefix), confirm="replicated", retries=0)
    assert (receipt.replicas, receipt.status()) == (None, "spooled")


def test_a_server_that_cannot_tell_what_is_on_disk_is_refused(shop: Celery) -> None:
    """Only where that is asked for."""
    with pytest.raises(ConfigError, match=r"on_disk=True needs WAITAOF, of Redis 7\.2"):
        supervised_send("add", app=shop, confirm="replicated", on_disk=True)
