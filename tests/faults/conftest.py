"""The rig of each fault test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening.core.embedded import EmbeddedRedis
from tests.faults.brokers import Papers, port_of, redis_over_tls, sentinel_of, server_with_tls
from tests.faults.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def ledger_server() -> Iterator[EmbeddedRedis]:
    """The second Redis, which only the tasks and the tests talk to."""
    with EmbeddedRedis(port=0) as server:
        yield server


@pytest.fixture
def rig_for(ledger_server: EmbeddedRedis, prefix: str, tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Makes the rig of a broker, given its URL; its workers are stopped when the test ends."""
    rigs: list[Rig] = []
    with ledger_server.client() as ledger:

        def make(broker: str, authority: str = "") -> Rig:
            rigs.append(Rig(broker, ledger, ledger_server.url, prefix, tmp_path, authority=authority))
            return rigs[-1]

        yield make
        for rig in rigs:
            rig.stop()


@pytest.fixture
def rig(server: EmbeddedRedis, rig_for: Callable[..., Rig]) -> Rig:
    """A broker, a ledger, and no workers yet."""
    return rig_for(server.broker_url)


@pytest.fixture
def own_broker(binary: str) -> Iterator[EmbeddedRedis]:
    """A broker that nobody else talks to."""
    with EmbeddedRedis(server=binary, port=0) as broker:
        yield broker


@pytest.fixture
def unix_url(binary: str) -> Iterator[str]:
    """The URL of a Redis that listens on a Unix socket alone."""
    with EmbeddedRedis(server=binary) as broker:
        yield broker.broker_url


@pytest.fixture
def tls_binary() -> str:
    """A server on this machine that speaks TLS."""
    path = server_with_tls()
    if path is None:
        pytest.skip("no redis-server on this machine was built with TLS")
    return path


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    """Certificates of this test's own."""
    return Papers(tmp_path).issue()


@pytest.fixture
def tls_url(tls_binary: str, papers: Papers, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a Redis that speaks TLS, with a certificate that this process and its workers trust."""
    monkeypatch.setenv("SSL_CERT_FILE", papers.authority)
    with redis_over_tls(tls_binary, papers) as port:
        yield f"rediss://127.0.0.1:{port}/0"


@pytest.fixture
def sentinel_url(binary: str, tmp_path: Path) -> Iterator[str]:
    """A Redis watched by one Sentinel."""
    with EmbeddedRedis(port=0, server=binary) as master, sentinel_of(binary, port_of(master), tmp_path) as url:
        yield url


@pytest.fixture
def tls_sentinel_url(tls_binary: str, papers: Papers, tmp_path: Path) -> Iterator[str]:
    """The same, where both speak TLS alone, with certificates that nobody trusts who is not told to."""
    with redis_over_tls(tls_binary, papers) as port, sentinel_of(tls_binary, port, tmp_path, papers) as url:
        yield url


@pytest.fixture
def lasting_broker(binary: str, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A broker of the test's own, with AOF, that may be restarted and filled."""
    data = tmp_path / "aof"
    data.mkdir()
    with EmbeddedRedis(server=binary, port=0, directory=data, config={"appendfsync": "always"}) as broker:
        yield broker


@pytest.fixture
def own_rig(lasting_broker: EmbeddedRedis, rig_for: Callable[..., Rig]) -> tuple[Rig, EmbeddedRedis]:
    """A rig with such a broker."""
    return rig_for(lasting_broker.broker_url), lasting_broker
