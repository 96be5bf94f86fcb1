"""The broker of a hardened app: its transport, its sockets and its certificates."""

from __future__ import annotations

import ssl
import threading
from typing import Any

import pytest
from kombu.utils.json import dumps, loads

from hardening import harden
from hardening.core import deployment
from hardening.core.deployment import client_of
from hardening.transport import SentinelTransport, Transport
from hardening.transport.stock import CLIENT_NAME
from tests.unit.making import make


@pytest.mark.parametrize(
    ("broker", "transport"),
    [
        ("redis://localhost", Transport),
        ("rediss://localhost", Transport),
        ("redis+socket:///tmp/redis.sock", Transport),
        ("sentinel://localhost:26379;sentinel://other:26379", SentinelTransport),
    ],
)
@pytest.mark.parametrize("is_pooled", [False, True], ids=["own", "pooled"])
def test_a_broker_gets_our_transport(broker: str, transport: type[Transport], *, is_pooled: bool) -> None:
    """By the scheme of its URL, which stays as it is; in the pool from which ``delay()`` sends, too."""
    app = harden(make(broker))
    with app.pool.acquire() if is_pooled else app.connection_for_write() as connection:
        assert type(connection.transport) is transport
    assert app.conf.broker_url == broker


@pytest.mark.parametrize(
    "brokers", [["redis://one:1/0", "redis://two:2/0"], ["rediss://one:1/0", "rediss://two:2/0"]], ids=["plain", "tls"]
)
@pytest.mark.parametrize("is_list", [True, False])
@pytest.mark.parametrize("is_pooled", [False, True], ids=["own", "pooled"])
def test_our_transport_stays_when_kombu_fails_over(brokers: list[str], *, is_list: bool, is_pooled: bool) -> None:
    """Kombu would take the stock one, by the scheme of the next URL."""
    app = harden(make(brokers if is_list else ";".join(brokers)))
    with app.pool.acquire() if is_pooled else app.connection_for_write() as connection:
        seen = []
        for _ in range(3):
            seen.append((connection.hostname, type(connection.transport), connection.ssl))
            connection.maybe_switch_next()
        secure: Any = {"ssl_cert_reqs": ssl.CERT_REQUIRED} if brokers[0].startswith("rediss") else False
        assert seen == [(host, Transport, secure) for host in ("one", "two", "one")]


@pytest.mark.parametrize(
    ("broker", "use_ssl", "required"),
    [
        ("rediss://localhost", None, ssl.CERT_REQUIRED),
        ("rediss://localhost?ssl_cert_reqs=none", None, ssl.CERT_NONE),
        ("rediss://localhost", {"ssl_cert_reqs": ssl.CERT_NONE}, ssl.CERT_NONE),
        ("redis://localhost", {"ssl_cert_reqs": ssl.CERT_OPTIONAL}, ssl.CERT_OPTIONAL),
        ("redis://localhost", None, None),
    ],
)
def test_certificates_are_verified_unless_the_user_says_otherwise(
    broker: str, use_ssl: dict[str, Any] | None, required: int | None
) -> None:
    """Kombu verifies nothing unless it is asked to. Our own client uses the same parameters."""
    app = harden(make(broker, **({"broker_use_ssl": use_ssl} if use_ssl else {})))
    pool: Any = client_of(app).connection_pool
    assert pool.connection_kwargs.get("ssl_cert_reqs") == required


def test_sockets_never_wait_for_ever() -> None:
    """What the user set of it stays."""
    options = harden(
        make(broker_transport_options={"socket_timeout": 2.0, "master_name": "m"})
    ).conf.broker_transport_options
    kept = ("socket_timeout", "socket_connect_timeout", "socket_keepalive", "health_check_interval", "master_name")
    assert {name: options[name] for name in kept} == {
        "socket_timeout": 2.0, "socket_connect_timeout": 5.0, "socket_keepalive": True, "health_check_interval": 25,
        "master_name": "m",
    }  # fmt: skip


def test_sockets_to_results_never_wait_for_ever_either() -> None:
    """Celery would give a Redis that hangs 120 s to answer, and one that is gone all the time there is."""
    conf = harden(make(redis_socket_timeout=2.0)).conf
    assert (conf.redis_socket_timeout, conf.redis_socket_connect_timeout, conf.redis_socket_keepalive) == (
        2.0,
        5.0,
        True,
    )


@pytest.mark.parametrize("is_pooled", [False, True], ids=["own", "pooled"])
def test_a_secure_broker_that_comes_second_is_verified_too(*, is_pooled: bool) -> None:
    """After a failover as well."""
    app = harden(make("redis://one:1/0;rediss://two:2/0"))
    with app.pool.acquire() if is_pooled else app.connection_for_write() as connection:
        connection.maybe_switch_next()
        assert connection.ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_who_waits_for_results_is_no_stock_worker() -> None:
    """One that seems to be there would keep what others of its kind left behind from coming back."""
    assert harden(make()).conf.redis_client_name == CLIENT_NAME
    assert harden(make(redis_client_name="mine")).conf.redis_client_name == "mine"


def test_a_worker_can_be_asked_for_its_statistics() -> None:
    """They have the options of its transport, which remote control sends as JSON: ``celery inspect stats``, Flower."""
    told = loads(dumps(harden(make()).connection_for_write().info()))
    assert told["transport_options"]["on_buried"] == "FailBuried"


def test_who_forgets_clients_waits_for_nobody() -> None:
    """An event loop does, while a thread may be asking which of several brokers answers, under the lock of all."""
    app = harden(make("redis://127.0.0.1:1/0;redis://127.0.0.1:2/0"))
    before = client_of(app)
    with deployment._mutex:
        forgetting = threading.Thread(target=deployment.forget_clients, args=(app,), daemon=True)
        forgetting.start()
        forgetting.join(10)
        assert not forgetting.is_alive()
    assert client_of(app) is not before
