"""Agents vote, bid and work, while those who host them are frozen and killed."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from hardening.agents.coordination import (
    RequestManager,
    Vote,
    auction,
    consensus,
    distribute_work,
    hierarchy,
)
from hardening.agents.coordination.bench import AgentBench, Presence
from hardening.core.deployment import client_of
from tests.closing import close
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from hardening.agents.coordination import WorkReport
    from tests.faults.rig import Rig, Worker

pytestmark = pytest.mark.one_server

_LEASE_S = 1.0


class Stage:
    """Agents ``a`` and ``b`` on one worker, ``c`` on another."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.app: Celery = rig.producer()
        self.a, self.b, self.c = self.all = [f"{rig.prefix}-{name}" for name in "abc"]
        started = self.start(self.a, self.b), self.start(self.c)
        self.first, self.second = (rig.ready(worker) for worker in started)

    def start(self, *agents: str) -> Worker:
        """Starts a worker that hosts them."""
        return self.rig.start(
            "solo", 1, tasks="tests.faults.coordination_agents", queues=[f"agent.{name}" for name in agents],
            faults_agents=",".join(self.all), faults_lease_s=str(_LEASE_S),
        )  # fmt: skip


@pytest.fixture
def stage(rig: Rig) -> Iterator[Stage]:
    """Three agents."""
    stage = Stage(rig)
    yield stage
    close(stage.app)


def test_agents_act_together_whoever_is_there(stage: Stage) -> None:
    """Whoever is frozen holds up nobody; of one whose host dies, another does the work; a request waits for it."""
    votes_and_bids(stage)
    work_of_the_dead(stage)
    requests_to_the_dead(stage)


def votes_and_bids(stage: Stage) -> None:
    """All take part; then one is frozen: it abstains, and what is certain without it is not held up."""
    app, rig, everybody = stage.app, stage.rig, stage.all
    proposal = {"what": "lunch", "a": True, "b": True, "c": True}
    agreed = consensus(everybody, proposal, "unanimous", 10, announce=True, app=app)
    assert (agreed.is_accepted, set(agreed.votes.values())) == (True, {Vote.YES})
    assert agreed.announcement is not None
    assert agreed.announcement.ok
    told = hierarchy({stage.a: [stage.b, stage.c]}).broadcast("echo", "down", confirm="acked", timeout=10, app=app)
    assert (told.ok, [len(level) for level in told]) == (True, [1, 2])
    assert rig.count("echoed")["down"] == 3
    eventually(lambda: rig.count("heard") == {f"{name} lunch True": 1 for name in "abc"})

    stage.second.send(signal.SIGSTOP)
    early = consensus(everybody, proposal, "majority", 30, app=app)
    assert (early.is_accepted, early.votes[stage.c]) == (True, Vote.PENDING)
    late = consensus(everybody, proposal, "unanimous", 0.8, app=app)
    assert (late.is_accepted, late.who(Vote.ABSTAINED)) == (False, (stage.c,))
    sold = auction({"a": 3, "b": 5, "c": 9}, everybody, 0.8, app=app)
    assert (sold.winner, sold.price, list(sold.silent)) == (stage.b, 3, [stage.c])
    stage.second.send(signal.SIGCONT)
    eventually(lambda: AgentBench(app).presence([stage.c])[stage.c] is Presence.THERE)


def work_of_the_dead(stage: Stage) -> None:
    """What one had not done when its host was killed, another does, once; also what it had begun."""
    rig = stage.rig
    reports: list[WorkReport] = []
    work: dict[str, Any] = {"timeout": 40, "patience": 0.2, "app": stage.app}
    items = [1, -2, 3, 4, 5, 6]  # in turn; c is slow with the second
    thread = threading.Thread(target=lambda: reports.append(distribute_work(items, [stage.a, stage.c], **work)))
    thread.start()
    eventually(lambda: rig.count("begun")["c -2"], 20)
    rig.kill(stage.second)
    thread.join(40)
    (report,) = reports
    assert report
    assert report.by_agent() == {stage.a: 6}
    assert [piece.number for piece in report.pieces if piece.earlier == [stage.c]] == [1, 3, 5]
    assert rig.count("done") == {str(item): 1 for item in items}
    assert rig.count("begun")["a -2"] == 1


def requests_to_the_dead(stage: Stage) -> None:
    """They hold up no other, wait in its mailbox, once, and are done when it is back; nobody is told the half."""
    app, rig = stage.app, stage.rig
    refused = consensus([stage.a, stage.c], {"a": True}, "majority", 0.3, announce=True, app=app)
    assert refused.announcement is not None
    assert [str(one.recipient) for one in refused.announcement.refused] == [f"agent {stage.c}"]
    requests = RequestManager(app, timeout=0.5)
    first = requests.submit(stage.c, "echo", "once", key="k")
    assert requests.ask(stage.a, "echo", "now").value == "now"
    reply = first.result(20)
    assert reply.how == "sent"
    again = requests.ask(stage.c, "echo", "once", key="k")
    assert (again.how, again.receipt) == ("sent", reply.receipt)
    rig.ready(stage.start(stage.c))
    assert reply.receipt is not None
    reply.receipt.wait("acked", timeout=20)
    last = requests.ask(stage.c, "echo", "last")
    assert last.how == "answered"
    assert rig.count("echoed")["once"] == 1
    assert not client_of(app).exists(*(f"agent.{name}" for name in stage.all))
