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

from hardening import demonitor, monitor
from hardening.core.deployment import client_of, settings_of
from hardening.monitors import list_monitors, stats
from tests.eventually import eventually
from tests.faults.rig import LEASE_S
from tests.integration.monitored import Heard, Targets, keys_of_monitors

if TYPE_CHECKING:
    from celery import Celery

    from tests.faults.rig import Rig, Worker

pytestmark = pytest.mark.one_server

_TASKS = "tests.faults.monitor_tasks"


def owner_of(rig: Rig, name: str, many: int, *targets: str, durable_s: float = 0.0) -> subprocess.Popen[bytes]:
    """Starts a process that monitors."""
    environ = {
        **os.environ, "FAULTS_BROKER": rig.broker, "FAULTS_LEDGER": rig.ledger_url, "FAULTS_PREFIX": rig.prefix,
        "FAULTS_QUEUE": rig.queue, "FAULTS_LEASE_S": str(LEASE_S), "FAULTS_PREFETCH": "4", "FAULTS_CLOCK": rig.broker,
        "FAULTS_DURABLE_S": str(durable_s),
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
    early = owner_of(rig, "early", 5, node_of(rig, heir))
    with_it = owner_of(rig, "with", 5, node_of(rig, other))
    for worker in (heir, victim, other):
        rig.ready(worker)
    rig.ledger.set(f"{rig.prefix}:gate:targets", 1)
    called = Heard()  # this process survives
    for worker in (victim, heir):
        for number in range(5):
            monitor(node_of(rig, worker), f"survivor called {number}", on_down=called, app=app)
            monitor(node_of(rig, worker), f"survivor sent {number}", on_down=app.signature(f"{_TASKS}.hear"), app=app)
    for name in ("early", "with"):
        await_owner(rig, name)
    assert stats(app=app).alive == 40
    # side by side: an owner first, whose monitors go; a target first, whose owner is told; and both at once, where
    # whichever is noticed first, nothing is left, and nothing is told twice
    kill(early)
    rig.kill(victim)
    kill(with_it)
    rig.kill(other)
    took_s = rig.seconds_until(lambda: len(called.downs) == 5 and stats(app=app).alive == 10, LEASE_S + 4)
    assert took_s <= LEASE_S + 2
    assert called.soon(5) == [(f"survivor called {number}", "crashed") for number in range(5)]
    sent = {f"survivor sent {number} crashed" for number in range(5)}
    eventually(lambda: sent <= rig.count("heard").keys(), 10)
    found = stats(app=app)
    assert found.monitors == 40 == found.alive + found.downs + found.orphaned
    assert found.orphaned >= 10 <= found.downs
    # all that was to be sent is done: what waits after this is of the heir
    client, keys = client_of(app), settings_of(app).keys
    notices = (keys.monitor_owed, keys.monitor_notices)
    eventually(lambda: not client.exists(*notices) and (read := rig.read()).inflight == read.queued == 0, 10)
    # a clean exit is told at once; what its dead owner wanted to know of it, to nobody
    heir.send(signal.SIGTERM)
    heir.process.wait(20)
    assert rig.seconds_until(lambda: len(called.downs) == 10, 5) <= 1.0
    assert Counter(called.soon(10))["survivor called 0", "exited"] == 1
    eventually(lambda: not client.exists(*notices), 10)
    assert client.llen(rig.queue) == 5  # by task as well, whenever somebody works again
    heard = rig.count("heard")
    assert set(heard.values()) == {1}
    assert {key for key in heard if not key.startswith("with ")} == sent
    assert rig.count("called") == Counter()
    eventually(lambda: left(app) == set(), 5)
    app.close()


def test_an_owners_monitors_vanish_though_nobody_sweeps(rig: Rig) -> None:
    """By their TTL; what still names them goes with the next process that looks after any."""
    app = app_of(rig)
    client, keys = client_of(app), settings_of(app).keys
    target = Targets(client, keys).join("h:1:aa")
    rig.ledger.set(f"{rig.prefix}:gate:targets", 1)
    owner = owner_of(rig, "owner", 20, target)
    await_owner(rig, "owner")
    (hash_key,) = (key for key in left(app) if key.startswith("monitors:"))
    assert client.zcard(keys.monitor_since) == 40
    kill(owner)
    eventually(lambda: list_monitors(app=app) == [], LEASE_S + 1)
    eventually(lambda: hash_key not in left(app), 2 * LEASE_S + 1)
    assert client.zcard(keys.monitor_since) == 40
    heard = Heard()
    ref = monitor(target, "told", on_down=heard, app=app)
    eventually(lambda: client.zcard(keys.monitor_since) == 1, LEASE_S + 5)
    Targets(client, keys).leave("h:1:aa")
    assert heard.soon() == [("told", "exited")]
    assert not demonitor(ref)
    eventually(lambda: left(app) == set(), LEASE_S + 5)
    app.close()


def test_a_durable_monitor_survives_its_owner(rig: Rig) -> None:
    """Killed, and started again or not: its target dies later, and one notice comes of each; of others, none."""
    app = app_of(rig)
    rig.start("solo", 1, tasks=_TASKS)
    victim = rig.start("solo", 1, tasks=_TASKS, queues=["elsewhere"])
    target = node_of(rig, victim)
    owners = {name: owner_of(rig, name, 5, target, durable_s=60) for name in ("gone", "again")}
    owners["mortal"] = owner_of(rig, "mortal", 5, target)
    for worker in rig.workers:
        rig.ready(worker)
    rig.ledger.set(f"{rig.prefix}:gate:targets", 1)
    for name, owner in owners.items():
        await_owner(rig, name)
        kill(owner)
    restarted = owner_of(rig, "again", 5, target, durable_s=60)
    eventually(lambda: stats(app=app).orphaned == 10, LEASE_S + 4)  # those of the mortal
    eventually(lambda: rig.count("began")["again"] == 2, 30)
    assert stats(app=app).alive == 10
    assert {one.is_durable for one in list_monitors(app=app)} == {True}
    rig.kill(victim)
    told = {f"{name} durable {number} crashed": 1 for name in ("gone", "again") for number in range(5)}
    eventually(lambda: rig.count("heard").keys() >= told.keys(), LEASE_S + 15)
    rig.settled()
    assert rig.count("heard") == told
    assert left(app) == set()
    assert stats(app=app).owed == 0
    kill(restarted)
    app.close()


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
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
