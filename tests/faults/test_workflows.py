"""A workflow whose coordinator and performers are killed at every step is as one that nobody kills."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from hardening import agent
from hardening.agents.errors import AskTimeout
from hardening.core.deployment import client_of, settings_of
from tests.closing import close
from tests.eventually import eventually

if TYPE_CHECKING:
    from celery import Celery

    from tests.faults.rig import Rig, Worker

pytestmark = pytest.mark.one_server

_STEPS = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["d"], "f": ["d", "e"]}


def _set_traps(rig: Rig, chance: random.Random) -> None:
    """One at every step, for who does it and for the coordinator; one of them takes the whole worker along."""
    every = [(who, step) for who in ("boss", "hand") for step in _STEPS]
    whole = chance.choice(every)
    for who, step in every:
        what = "worker" if (who, step) == whole else "child"
        rig.ledger.set(f"{rig.prefix}:trap:{who}:{step}", f"{chance.choice(['before', 'after'])} {what}")


def _state(app: Celery, name: str) -> dict[str, Any]:
    client: Any = client_of(app)
    found: dict[str, Any] = json.loads(client.hget(settings_of(app).keys.agent(name), "state") or "{}")
    return found


def test_a_workflow_whose_agents_are_killed_at_every_step_is_done_once(rig: Rig) -> None:
    """Before a step is done, after its commit, before and after the coordinator hears of it; a whole worker as well."""
    _set_traps(rig, random.Random(6))
    names = [f"{role}.{rig.prefix}" for role in ("boss", "left", "right")]
    boss, left, right = names

    def start() -> Worker:
        queues = [f"agent.{name}" for name in names]
        return rig.start(
            "prefork", 2, tasks="tests.faults.workflow_tasks", queues=queues, faults_lease_s="1",
            faults_max_crashes="100", faults_crash_delay_s="0",
        )  # fmt: skip

    workers = [start() for _ in range(2)]
    app = rig.producer()
    for worker in workers:
        rig.ready(worker)
    coordinator = agent(boss, app=app)
    for name in (left, right):
        coordinator.tell("register", name, ["work"])
    steps = {name: {"do": "work", "args": [ord(name)], "after": after} for name, after in _STEPS.items()}
    with suppress(AskTimeout):
        assert coordinator.ask("start", {"id": "w", "steps": steps}, timeout=20) == "w"

    def workflow() -> dict[str, Any]:
        found: dict[str, Any] = _state(app, boss).get("workflows", {}).get("w", {})
        return found

    eventually(lambda: workflow().get("status") == "completed", 40)
    rig.settled()
    assert rig.ledger.keys(f"{rig.prefix}:trap:*") == []
    assert sum(worker.process.poll() is not None for worker in workers) == 1
    assert sorted(_state(app, left)["done"] + _state(app, right)["done"]) == sorted(_STEPS)
    results = {name: step["result"] for name, step in workflow()["steps"].items()}
    for name, after in _STEPS.items():
        assert results[name] == [ord(name), {other: results[other] for other in after}]
    assert all(len(step["attempts"]) == 1 for step in workflow()["steps"].values())
    close(app)
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()
