"""asupervised_send through Sentinels: passwords, TLS, who is trusted, and a failover."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from hardening import asupervised_send
from hardening.core.embedded import EmbeddedRedis
from hardening.core.errors import ConfigError, PublishFailed
from hardening.delivery.async_client import pool_of
from tests.eventually import eventually
from tests.faults.broker_options import MASTER
from tests.faults.brokers import SENTINEL_PASSWORD, Papers, port_of, sentinel_of
from tests.integration.spooling import app_for
from tests.integration.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from celery import Celery

    from tests.faults.rig import Rig

PASSWORD = "m4ster"  # noqa: S105 - of a test


def run(app: Celery, work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine in a loop of its own, and closes the app's connections in it."""

    async def whole() -> Any:
        try:
            async with asyncio.timeout(60):
                return await work
        finally:
            await (await pool_of(app)).disconnect()

    return asyncio.run(whole())


@contextmanager
def guarded(binary: str, **config: str) -> Iterator[tuple[EmbeddedRedis, Redis]]:
    """A Redis that asks for a password, as every other it may be told to follow."""
    with EmbeddedRedis(server=binary, port=0, config=config) as running:
        with running.client() as client:
            client.config_set("masterauth", PASSWORD)
            client.config_set("requirepass", PASSWORD)
        with Redis(port=port_of(running), password=PASSWORD, socket_timeout=30) as client:
            yield running, client


@pytest.mark.one_server
def test_a_failover_is_outlived(binary: str, tmp_path: Path, prefix: str) -> None:
    """What is sent meanwhile is with the replica that was promoted, once; Redis and Sentinel ask for passwords."""
    delay = {"repl-diskless-sync-delay": "0"}
    with guarded(binary, **delay) as (master, first), guarded(binary) as (replica, second):
        second.replicaof("127.0.0.1", str(port_of(master)))
        eventually(lambda: first.wait(1, 100) == 1, 30)
        with sentinel_of(binary, port_of(master), tmp_path, password=PASSWORD) as url:
            options = {"master_name": MASTER, "sentinel_kwargs": {"password": SENTINEL_PASSWORD}}
            # The second Sentinel is not there: more than one address must not make it several brokers.
            app = app_for(f"{url};sentinel://127.0.0.1:1/0", prefix, broker_transport_options=options)

            async def through_it() -> tuple[list[str], Any]:
                before = await asyncio.gather(*(send(app, n) for n in range(20)))
                await asyncio.to_thread(replicated, first)
                pool = await pool_of(app)
                master.kill()
                meanwhile = await asyncio.gather(*(send(app, n) for n in range(20)))
                assert await pool_of(app) is pool
                return [receipt.id for receipt in (*before, *meanwhile)], pool

            ids, pool = run(app, through_it())
        assert sorted(Stage(second, prefix).state().queued["q"]) == sorted(ids)
        assert Stage(second, prefix).ledger().counters == {"published": 40}
        assert pool.master_address == ("127.0.0.1", port_of(replica))
        assert pool.max_connections == 32
        for sentinel in pool.sentinel_manager.sentinels:
            assert not any(one.is_connected for one in sentinel.connection_pool._available_connections)
            said = sentinel.connection_pool.connection_kwargs
            assert (said["socket_timeout"], said["socket_connect_timeout"], said["retry"].get_retries()) == (5, 5, 0)


def replicated(master: Any) -> None:
    """Returns once the replica has all there is: ``WAIT`` speaks of what its own connection wrote, so it writes."""
    with master.client() as one:
        one.set("written last", 1)
        assert one.wait(1, 20_000) == 1


async def send(app: Celery, number: int) -> Any:
    """One send that may take as long as a failover does."""
    return await asupervised_send("add", (number,), app=app, retries=1000, timeout=40, on_error="raise")


@pytest.mark.one_server
def test_tls_to_both_is_verified(
    tls_sentinel_url: str, papers: Papers, rig_for: Callable[..., Rig], tmp_path: Path
) -> None:
    """``broker_use_ssl`` is for the master, ``sentinel_kwargs`` for the Sentinels: each trusts one authority alone."""
    rig = rig_for(tls_sentinel_url, authority=papers.authority)
    app = rig.producer()
    assert run(app, asupervised_send("add", app=app, on_error="raise")).status() == "queued"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = Papers(elsewhere).issue().authority
    for trusted, words in ((papers.authority, "CERTIFICATE_VERIFY_FAILED"), (other, "No master found")):
        app = rig.producer()
        app.conf.broker_use_ssl["ssl_ca_certs"] = other
        app.conf.broker_transport_options["sentinel_kwargs"]["ssl_ca_certs"] = trusted
        with pytest.raises(PublishFailed, match=words):
            run(app, asupervised_send("add", app=app, retries=0, on_error="raise"))
        app.close()


@pytest.mark.one_server
def test_what_the_loop_cannot_check_of_a_certificate_is_refused(tls_url: str, rig_for: Callable[..., Rig]) -> None:
    """It would be trusted unchecked."""
    app = rig_for(tls_url).producer()
    app.conf.broker_use_ssl = {"ssl_validate_ocsp_stapled": True}
    with pytest.raises(ConfigError, match=r"cannot honour ssl_validate_ocsp_stapled: use asyncio\.to_thread"):
        asyncio.run(asupervised_send("add", app=app))
