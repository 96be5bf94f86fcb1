"""A breaker under many processes: how fast all of them stop, and what is let through meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hardening import Breaker
from tests.eventually import eventually
from tests.integration.breaking import RULE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys

ROOT = Path(__file__).parents[2]


@pytest.fixture
def callers(
    server: EmbeddedRedis, client: Redis, prefix: str, request: pytest.FixtureRequest
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that call the service, all of them by now; they end with the test."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.integration.breaking", server.broker_url, prefix]
    running = [subprocess.Popen([*command, str(seed)], cwd=ROOT) for seed in range(request.param)]
    eventually(lambda: client.llen(f"{prefix}.ready") == request.param, 40)
    yield running
    for process in running:
        process.kill()
        process.wait(10)


def state(client: Redis, keys: Keys) -> str:
    """What Redis says of the breaker."""
    stored: Any = client.hget(keys.breaker("service"), "state")
    return (stored or b"closed").decode()


def changed_at_s(client: Redis, keys: Keys) -> float:
    """When it last changed."""
    stored: Any = client.hget(keys.breaker("service"), "since_ms")
    return int(stored) / 1000


def noted(client: Redis, prefix: str, callers: list[subprocess.Popen[bytes]]) -> list[tuple[list[float], list[float]]]:
    """Stops the callers; for each that lived, when it called and when it was refused."""
    client.set(f"{prefix}.stop", 1)
    for process in callers:
        process.wait(20)
    found: Any = client.lrange(f"{prefix}.noted", 0, -1)
    return [tuple(json.loads(one)) for one in found]


@pytest.mark.one_server
@pytest.mark.parametrize("callers", [8], indirect=True)
def test_all_processes_stop_and_start_together(
    app: Celery, client: Redis, keys: Keys, prefix: str, callers: list[subprocess.Popen[bytes]]
) -> None:
    """Half a second after the first trip nobody calls; open, only probes are let through; healed, all call again."""
    client.set(f"{prefix}.sick", 0.8)
    eventually(lambda: state(client, keys) == "open", 10)
    first_trip_s = changed_at_s(client, keys)
    client.set(f"{prefix}.sick", 1)  # or a few probes might go well, and all would call for a moment
    eventually(lambda: int(client.hget(keys.breaker("service"), "generation") or 0) >= 6, 20)
    client.delete(f"{prefix}.sick")
    eventually(lambda: state(client, keys) == "closed", 20)
    healed_s = changed_at_s(client, keys)
    eventually(lambda: client.time()[0] > healed_s + 1.5, 10)
    Breaker("service", app=app, **RULE).open(why="maintenance")  # nobody has a failure to report, and all must stop
    forced_s = changed_at_s(client, keys)
    eventually(lambda: client.time()[0] > forced_s + 1.5, 10)
    seen = noted(client, prefix, callers)
    assert len(seen) == len(callers)
    last_s = max(call for calls, _ in seen for call in calls if call < first_trip_s + RULE["open_s"] - 0.1)
    assert last_s - first_trip_s < 0.5
    first_s = max(min(call for call in calls) for calls, _ in seen)
    assert first_s < first_trip_s  # all of them were calling
    later = [call for calls, _ in seen for call in calls if first_trip_s + 0.5 < call < healed_s]
    periods = (healed_s - first_trip_s) / RULE["open_s"]
    assert 0 < len(later) <= RULE["probes"] * (periods + 1)
    assert all(any(healed_s < call < forced_s for call in calls) for calls, _ in seen)
    last_s = max(call for calls, _ in seen for call in calls)
    assert last_s - forced_s < 0.5
    assert all(any(refused > forced_s for refused in refusals) for _, refusals in seen)


@pytest.mark.one_server
@pytest.mark.parametrize("callers", [3], indirect=True)
def test_a_breaker_recovers_from_probers_that_were_killed(
    app: Celery, client: Redis, keys: Keys, prefix: str, callers: list[subprocess.Popen[bytes]]
) -> None:
    """As many as there are places die in the middle of their probe; the places come back, and the service is healed."""
    breaker = Breaker("service", app=app, **RULE)
    breaker.open(why="maintenance")
    eventually(lambda: client.scard(f"{prefix}.refused") == len(callers), 20)  # from now on, who calls is a probe
    client.rpush(f"{prefix}.bullets", *range(RULE["probes"]))
    opened = breaker.open(for_s=0.05)
    eventually(lambda: state(client, keys) == "closed", 20)
    assert client.llen(f"{prefix}.died") == RULE["probes"]
    generation: Any = client.hget(keys.breaker("service"), "generation")
    assert int(generation) == opened.generation + 2  # half open, and closed: all of them died in the same one
    assert len(noted(client, prefix, callers)) == len(callers) - RULE["probes"]
