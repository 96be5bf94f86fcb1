"""The agents of the stack, while those who run them are killed at the worst moments."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from hardening import agent, subscribe
from tests.closing import close
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from tests.faults.rig import Rig, Worker

pytestmark = pytest.mark.one_server

_TASKS, _ITEMS, _CLOG = "tests.faults.system_tasks", 30, 25


class Stage:
    """An agent with work and an agent that watches."""

    def __init__(self, rig: Rig, app: Celery) -> None:
        self.rig, self.app = rig, app
        names = [f"task.{rig.prefix}", f"monitor.{rig.prefix}"]
        self.queues = [f"agent.{name}" for name in names]
        self.tasks, self.monitor = (agent(name, app=app) for name in names)
        self.stuck = f"stuck.{rig.prefix}"

    def host(self) -> Worker:
        """Starts a worker that hosts both."""
        return self.rig.start(
            "solo", 1, tasks=_TASKS, queues=self.queues, faults_lease_s="1", faults_poll_s="0.2",
            faults_crash_delay_s="0",
        )  # fmt: skip

    def dead(self, hosts: list[Worker]) -> int:
        """How many of them died."""
        return sum(host.process.poll() is not None for host in hosts)

    def submit(self) -> list[str]:
        """Submits work while nothing is sent; returns in which order it is to be begun."""
        self.tasks.ask("pause", timeout=20)
        chance = random.Random(4)
        items = [(chance.randrange(10), number) for number in range(_ITEMS)]
        for priority, number in items:
            self.tasks.tell("submit", f"{_TASKS}.item", [str(number)], id=str(number), priority=priority)
        self.tasks.ask("resume", timeout=20)
        return [str(number) for priority, number in sorted(items, key=lambda one: -one[0])]

    def order(self) -> list[str]:
        """In which order work was begun."""
        found: Any = self.rig.ledger.lrange(f"{self.rig.prefix}:order", 0, -1)
        return [key.decode() for key in found]

    def clog(self) -> None:
        """Has messages wait that nobody takes."""
        self.rig.send(self.app, "work", [str(number) for number in range(_CLOG)], queue=self.stuck)

    def unclog(self) -> None:
        """Removes them."""
        with self.app.connection_for_write() as connection:
            connection.default_channel.queue_purge(self.stuck)


@pytest.fixture
def app(rig: Rig) -> Iterator[Celery]:
    """The app that sends."""
    app = rig.producer()
    yield app
    close(app)


def test_work_is_sent_once_and_an_alert_told_once_whoever_dies(rig: Rig, app: Celery) -> None:
    """One worker dies with work decided on and not committed, the next with an alert told and not committed."""
    stage = Stage(rig, app)
    hosts = [stage.host(), stage.host()]
    doer = rig.start("solo", 1, tasks=_TASKS, queues=[rig.queue], faults_lease_s="1")
    for worker in [*hosts, doer]:
        rig.ready(worker)
    heard = f"{_TASKS}.heard"
    subscribe("alert.*", app.signature(heard, queue=rig.queue), durable=True, app=app)

    wanted = stage.submit()
    eventually(lambda: stage.dead(hosts) == 1, 20)
    hosts.append(stage.host())
    eventually(lambda: len(stage.order()) >= _ITEMS, 20)
    assert stage.order() == wanted
    eventually(lambda: len(stage.tasks.ask("list", "done", limit=100, timeout=20)) == _ITEMS, 20)
    assert rig.count("began") == dict.fromkeys(wanted, 1)
    assert not rig.count("crowded")

    stage.clog()
    eventually(lambda: stage.dead(hosts) == 2, 20)
    (alert,) = stage.monitor.ask("alerts", timeout=20)
    assert (alert["name"], alert["worst"], alert["is_told"]) == ("queue_depth", _CLOG, True)
    stage.unclog()
    eventually(lambda: rig.count("heard")["alert.resolved queue_depth"], 20)
    eventually(lambda: stage.monitor.ask("status", timeout=20)["score"] == 1.0, 20)
    assert rig.count("heard") == {"alert.raised queue_depth": 1, "alert.resolved queue_depth": 1}
    assert len(stage.monitor.ask("alerts", past=True)) == 1
