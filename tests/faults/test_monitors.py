"""Owners and targets are killed, in every order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hardening import monitor
from hardening.core.deployment import client_of, settings_of
from hardening.monitors import list_monitors, stats
from tests.eventually import eventually
from tests.faults.rig import LEASE_S
from tests.integration.monitored import Heard, keys_of_monitors

if TYPE_CHECKING:
    from celery import Celery

    from tests.faults.rig import Rig, Worker

pytestmark = pytest.mark.one_server

_TASKS = "tests.faults.monitor_tasks"


def owner_of(rig: Rig, name: str, many: int, *targets: str) -> subprocess.Popen[bytes]:
    """Starts a process that monitors."""
    environ = {
        **os.environ, "FAULTS_BROKER": rig.broker, "FAULTS_LEDGER": rig.ledger_url, "FAULTS_PREFIX": rig.prefix,
        "FAULTS_QUEUE": rig.queue, "FAULTS_LEASE_S": str(LEASE_S), "FAULTS_PREFETCH": "4", "FAULTS_CLOCK": rig.broker,
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.monitor_owner", name, str(many), *targets]
    with (rig.logs / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, env=environ, cwd=Path(__file__).parents[2], stdout=log, stderr=log)


def await_owner(rig: Rig, name: str) -> None:
    """Waits until it has set all its monitors."""
    eventually(lambda: rig.count("began")[name], 30)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL, and nothing of it is left."""
    process.kill()
    process.wait(10)


def node_of(rig: Rig, worker: Worker) -> str:
    """The name that Celery gives it."""
    return f"{rig.prefix}-{rig.workers.index(worker)}@test"


def app_of(rig: Rig) -> Celery:
    """An app that looks on."""
    app = rig.producer()
    vars(app)["_hardening_settings"] = settings_of(app).model_copy(update={"lease_ttl_s": LEASE_S})
    return app


def left(app: Celery) -> set[str]:
    """Keys that hold monitors, or name them; what the dead were told goes by its TTL."""
    client: Any = client_of(app)
    found = keys_of_monitors(client, settings_of(app).keys)
    told = {key for key in found if key.startswith("monitor:downs:")}
    assert all(client.pttl(f"{settings_of(app).prefix}:{key}") != -1 for key in told)
    return found - told


def test_targets_and_owners_are_killed_in_every_order(rig: Rig) -> None:
    """Each down is told once, by call and by task; who died first is told nothing, and nothing is left of it."""
    app = app_of(rig)
    heir, victim, other = (rig.start("solo", 1, tasks=_TASKS) for _ in range(3))
    for worker in (heir, victim, other):
        rig.ready(worker)
    survivor = owner_of(rig, "survivor", 5, node_of(rig, victim), node_of(rig, heir))
    early = owner_of(rig, "early", 5, node_of(rig, victim))
    with_it = owner_of(rig, "with", 5, node_of(rig, other))
    for name in ("survivor", "early", "with"):
        await_owner(rig, name)
    assert stats(app=app).alive == 40
    # owner first: its monitors go
    kill(early)
    assert rig.seconds_until(lambda: stats(app=app).alive == 30, LEASE_S + 4) <= LEASE_S + 2
    assert stats(app=app).orphaned == 10
    # target first: its owner is told
    rig.kill(victim)
    took_s = rig.seconds_until(lambda: sum(rig.count("called").values()) == 5, LEASE_S + 4)
    assert took_s <= LEASE_S + 2
    eventually(lambda: sum(rig.count("heard").values()) == 5, 10)
    told = Counter({f"survivor {{}} {number} crashed": 1 for number in range(5)})
    assert rig.count("called") == Counter({key.format("called"): 1 for key in told})
    assert rig.count("heard") == Counter({key.format("sent"): 1 for key in told})
    # both at once: whichever is noticed first, nothing is left, and nothing is told twice
    kill(with_it)
    rig.kill(other)
    eventually(lambda: stats(app=app).alive == 10, LEASE_S + 5)
    found = stats(app=app)
    assert found.monitors == 40 == found.alive + found.downs + found.orphaned
    # a clean exit is told at once
    heir.send(signal.SIGTERM)
    heir.process.wait(20)
    assert rig.seconds_until(lambda: sum(rig.count("called").values()) == 10, 5) <= 1.0
    last = rig.ready(rig.start("solo", 1, tasks=_TASKS))
    eventually(lambda: sum(n for key, n in rig.count("heard").items() if key.startswith("survivor")) == 10, 10)
    assert set(rig.count("heard").values()) == {1}
    assert {key.split()[0] for key in rig.count("called")} == {"survivor"}
    eventually(lambda: left(app) == set(), 5)
    kill(survivor)
    rig.kill(last)
    app.close()


def test_an_owners_monitors_vanish_though_nobody_sweeps(rig: Rig) -> None:
    """By their TTL; what still names them goes with the next process that looks after any."""
    app = app_of(rig)
    worker = rig.ready(rig.start("solo", 1, tasks=_TASKS))
    owner = owner_of(rig, "owner", 20, node_of(rig, worker))
    await_owner(rig, "owner")
    (hash_key,) = (key for key in left(app) if key.startswith("monitors:"))
    kill(owner)
    worker.send(signal.SIGSTOP)
    eventually(lambda: list_monitors(app=app) == [], LEASE_S + 1)
    eventually(lambda: hash_key not in left(app), 2 * LEASE_S + 1)
    assert "monitor:since" in left(app)
    heard = Heard()
    monitor("queue:nobody", "told", on_down=heard, on_error="later", app=app)
    assert heard.soon() == [("told", "unknown")]
    worker.send(signal.SIGCONT)
    eventually(lambda: left(app) == set(), LEASE_S + 5)
    app.close()


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_tasks_monitors_end_with_it_however_it_ends(rig: Rig, pool: str) -> None:
    """It returns, raises, is killed, runs into its hard limit; or its whole worker is killed."""
    app = app_of(rig)
    target = rig.ready(rig.start("solo", 1, tasks=_TASKS, queues=["elsewhere"]))
    ends = ["return", "raise", "kill", "hang"] if pool == "prefork" else ["return", "raise"]
    worker = rig.ready(rig.start(pool, 5, tasks=_TASKS))
    for end in [*ends, "never"]:
        app.send_task(f"{_TASKS}.watch", (end, node_of(rig, target), end), time_limit=3 if end == "hang" else 60)
    eventually(lambda: set(rig.count("began")) == {*ends, "never"}, 20)
    assert {one.task_name for one in list_monitors(app=app)} == {f"{_TASKS}.watch"}
    for end in ends:
        rig.ledger.set(f"{rig.prefix}:gate:{end}", 1)
    eventually(lambda: [one.tag for one in list_monitors(app=app)] == ["never"], LEASE_S + 15)
    assert stats(app=app).monitors == sum(rig.count("began").values())
    rig.kill(worker)
    eventually(lambda: list_monitors(app=app) == [], LEASE_S + 3)
    eventually(lambda: left(app) == set(), LEASE_S + 3)
    rig.kill(target)
    app.close()
