"""``celery -A app hardening health``: whether a worker on this host lives."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from hardening import harden
from hardening.core.membership import Lease, boot_clock_s
from hardening.core.scripts import calls
from tests.integration.cli import hardening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys

pytestmark = pytest.mark.one_server

_HERE = socket.gethostname()


def join(client: Redis, keys: Keys, host: str, *, about: str = "{}", ttl_ms: int = 60_000) -> str:
    """A consumer on a host, which says something about itself."""
    name = f"{host}:1:{len(host):08x}"
    calls.renew(keys, name, ttl_ms, join=True, about=about).run(client)
    return name


def silent(seconds: float) -> str:
    """What a worker says whose loop has been silent."""
    return json.dumps({"host": _HERE, "pid": 1, "silent_ms": int(seconds * 1000)})


def test_a_worker_that_holds_its_lease_and_turns_is_well(app: Celery, client: Redis, keys: Keys) -> None:
    """It is named; those on other hosts are not."""
    name = join(client, keys, _HERE, about=silent(1.2))
    join(client, keys, "elsewhere", about=silent(900))
    result = hardening(app, "health")
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert first.startswith(f"{name} holds its lease for ")
    assert second == "healthy"


def test_no_worker_on_this_host_is_not_well(app: Celery, client: Redis, keys: Keys) -> None:
    """Whatever there is on others, whose names may begin alike; each can be asked for."""
    join(client, keys, f"{_HERE}x")
    result = hardening(app, "health")
    assert (result.exit_code, result.stdout) == (1, f"not healthy: no worker on {_HERE} holds a lease\n")
    assert hardening(app, "health", "--host", f"{_HERE}x").exit_code == 0


def test_a_lease_that_has_run_out_is_none(app: Celery, client: Redis, keys: Keys) -> None:
    """Even while nobody has swept it."""
    name = join(client, keys, _HERE)
    client.zadd(keys.leases, {name: 1})
    assert hardening(app, "health").exit_code == 1


def test_a_loop_that_is_silent_for_too_long_is_not_well(app: Celery, client: Redis, keys: Keys) -> None:
    """Though its lease is renewed; how long that is can be said."""
    name = join(client, keys, _HERE, about=silent(61))
    result = hardening(app, "health")
    why = f"not healthy: {name} holds its lease, but its loop has been silent for 1m"
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, why)
    assert hardening(app, "health", "--max-silence", "62").exit_code == 0


@pytest.mark.parametrize("about", ["", "[1]", "{}", '{"silent_ms": "x"}', "\x1b[31m", '{"silent_ms": 1e999'])
def test_what_cannot_be_read_says_nothing_of_a_loop(app: Celery, client: Redis, keys: Keys, about: str) -> None:
    """As of older workers, and of the solo pool."""
    join(client, keys, _HERE, about=about)
    assert hardening(app, "health").exit_code == 0


def test_as_json(app: Celery, client: Redis, keys: Keys) -> None:
    """For those who compute with it."""
    name = join(client, keys, _HERE, about=silent(2))
    (one,) = (told := json.loads(hardening(app, "health", "--json").stdout)).pop("consumers")
    assert told == {"healthy": True, "why": "", "host": _HERE}
    assert (one["name"], one["silent_s"]) == (name, 2.0)
    assert 50 < one["lease_s"] <= 60


def test_an_outage_may_count_as_well() -> None:
    """For a probe that would end workers which only wait; by itself it does not."""
    app = harden(Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False))
    assert hardening(app, "health").exit_code == 1
    result = hardening(app, "health", "--outage-is-well")
    assert result.exit_code == 0
    assert result.stdout.startswith("healthy: Redis is away, so nobody knows: Error 111 connecting to 127.0.0.1:1.")


def test_a_wrong_password_is_no_outage(server: EmbeddedRedis) -> None:
    """It does not pass by itself."""
    url = server.broker_url.replace("redis://", "redis://:wrong@")
    app = harden(Celery("locked-out", broker=url, set_as_current=False))
    result = hardening(app, "health", "--outage-is-well")
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output


@contextmanager
def lease_of(client: Any, keys: Keys) -> Iterator[Lease]:
    """A lease that renews itself often."""
    lease = Lease(client, keys, ttl_s=0.6, on_reaped=lambda _: None, on_beat=lambda: None)
    yield lease
    lease.stop()


def _told(client: Redis, keys: Keys, lease: Lease) -> dict[str, Any]:
    stored: Any = client.hget(keys.members, lease.consumer)
    told: dict[str, Any] = json.loads(stored)
    return told


def test_a_lease_tells_of_the_silence_of_its_loop(client: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first turn to its last."""
    now_s = boot_clock_s()
    monkeypatch.setattr("hardening.core.membership.boot_clock_s", lambda: now_s)
    with lease_of(client, keys) as lease:
        lease.renew()
        assert "silent_ms" not in _told(client, keys, lease)
        lease.turn()
        now_s += 4.5
        lease.renew()
        assert _told(client, keys, lease)["silent_ms"] == 4500
        lease.turn()
        lease.renew()
        assert _told(client, keys, lease)["silent_ms"] == 0
        lease.turn(is_last=True)
        now_s += 100
        lease.renew()
        assert "silent_ms" not in _told(client, keys, lease)


def test_the_silence_of_an_outage_is_nobodys_fault(client: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts from when Redis was back."""
    now_s = boot_clock_s()
    monkeypatch.setattr("hardening.core.membership.boot_clock_s", lambda: now_s)
    with lease_of(client, keys) as lease:
        lease.turn()
        now_s += 300
        lease._steady_since_s = now_s - 2
        lease.renew()
        assert _told(client, keys, lease)["silent_ms"] == 2000
