"""Supervisors: what follows when handlers raise, and who is told, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hardening import agent
from hardening.agents import Supervisor
from hardening.core import telemetry
from hardening.core.ledger import read_ledger
from hardening.core.scripts import mailing
from tests.integration.agent_cases import Ledger, hosted_as
from tests.integration.agent_player import Player

if TYPE_CHECKING:
    from celery import Celery

    from hardening.agents.ref import AgentRef


def supervised(app: Celery, prefix: str, *args: Any, **options: Any) -> tuple[Player, AgentRef]:
    """An agent with such a supervisor, and a worker that hosts it."""
    name = f"frail.{prefix}"
    hosted_as(app, name, supervisor=Supervisor(*args, **options))
    player = Player(app, name)
    mailing.found(player.keys, name, 1000).run(player.client)
    return player, agent(name, app=app)


def test_too_many_restarts_within_the_period_park_an_agent(app: Celery, prefix: str) -> None:
    """What waits stays; resumed, it begins with none counted."""
    player, ref = supervised(app, prefix, max_restarts=2, within_s=60)
    for _ in range(5):
        ref.tell("spoil", 1)
    with telemetry.capture("hardening.agent.halted") as told:
        assert [type(one) for one in player.handle_all()] == [ValueError] * 3
    events: list[Any] = list(told)
    assert [(one.halt, one.error, one.restarts) for one in events] == [("parked", "ValueError: no 1", 3)]
    status = ref.status()
    assert (status.status, status.waiting, status.restarts) == ("parked", 2, 3)
    assert status.why == "ValueError: no 1"
    assert ref.resume()
    assert not ref.resume()
    assert ref.status().restarts == 0
    assert [type(one) for one in player.handle_all()] == [ValueError] * 2
    assert ref.status().status == "running"
    assert read_ledger(player.client, player.keys).is_balanced


def test_restarts_that_are_long_ago_do_not_count(app: Celery, prefix: str) -> None:
    """The period moves on by the clock of Redis."""
    player, ref = supervised(app, prefix, max_restarts=1, within_s=60)
    for _ in range(2):
        ref.tell("spoil", 1)
        player.handle()
        key = player.keys.restarts(ref.name)
        for member in player.client.zrange(key, 0, -1):
            player.client.zincrby(key, -61_000, member)
    assert ref.status().status == "running"
    assert 0 < player.client.pttl(player.keys.restarts(ref.name)) <= 60_000


def test_an_agent_backs_off_twice_as_long_each_time(app: Celery, prefix: str) -> None:
    """Up to a cap; nothing is taken before, by anybody."""
    player, ref = supervised(app, prefix, "restart_with_backoff", max_restarts=9, base_s=50, cap_s=150)
    pauses = []
    with telemetry.capture("hardening.agent.restarted") as told:
        for _ in range(4):
            ref.tell("spoil", 1)
            ref.tell("look")
            assert len(player.handle_all()) == 1
            pauses.append(ref.status().backs_off_s)
            player.client.hdel(player.keys.mailbox(ref.queue), "resume_ms")
            assert player.handle_all() == [None]
    assert all(most - 20 < pause <= most for pause, most in zip(pauses, [50, 100, 150, 150], strict=True)), pauses
    events: list[Any] = list(told)
    assert [one.pause_s for one in events] == [50, 100, 150, 150]


def test_an_agent_that_is_to_stop_stops_at_once(app: Celery, prefix: str) -> None:
    """With its first failure."""
    player, ref = supervised(app, prefix, "stop")
    ref.tell("spoil", 1)
    ref.tell("look")
    assert [type(one) for one in player.handle_all()] == [ValueError]
    assert (ref.status().status, ref.status().why) == ("stopped", "ValueError: no 1")


def test_an_owner_is_told_once(app: Celery, prefix: str) -> None:
    """By the script that parks, in its mailbox, with a receipt; and again only when it happens again."""
    owner = f"owner.{prefix}"
    hosted_as(app, owner)
    player, ref = supervised(app, prefix, max_restarts=1, owner=owner)
    for _ in range(3):
        ref.tell("spoil", 1)
    player.handle_all()
    boss = Player(app, owner, "w9")
    assert boss.handle_all() == [None]
    told = {"agent": ref.name, "halt": "parked", "why": "ValueError: no 1"}
    assert boss.state()["said"] == [told]
    ref.resume()
    for _ in range(2):
        ref.tell("spoil", 1)
    player.handle_all()
    assert boss.handle_all() == [None]
    assert boss.state()["said"] == [told, told]
    assert read_ledger(player.client, player.keys).is_balanced


def test_an_owner_may_be_a_signature(app: Celery, prefix: str, queue: str) -> None:
    """It gets what happened before its own arguments, and a receipt follows it."""
    owner = app.signature("shop.alarm", args=("on call",), queue=queue)
    player, ref = supervised(app, prefix, "stop", owner=owner)
    ref.tell("spoil", 1)
    player.handle_all()
    (raw,) = player.client.lrange(queue, 0, -1)
    payload = json.loads(raw)
    assert payload["headers"]["task"] == "shop.alarm"
    assert "on call" in payload["headers"]["argsrepr"]
    assert ref.name in payload["headers"]["argsrepr"]
    receipt = payload["headers"]["hardening_receipt"]
    fields = player.client.hgetall(player.keys.delivery(receipt))
    assert (fields[b"state"], fields[b"task"], fields[b"queue"]) == (b"queued", b"shop.alarm", queue.encode())


def test_nobody_is_told_of_an_agent_that_somebody_else_runs_by_now(app: Celery, prefix: str) -> None:
    """Who lost the message counts nothing either."""
    player, ref = supervised(app, prefix, "stop")
    ref.tell("spoil", 1)
    taken = player.take()
    assert taken is not None
    player.die()
    with pytest.raises(Exception, match="lost its message"):
        player.run(taken)
    assert (ref.status().status, ref.status().restarts, ref.status().waiting) == ("idle", 0, 1)


class Journaled(Ledger):
    """Writes its state every third time."""

    snapshot_every = 3
    ran = 0

    def on_start(self) -> None:
        """Nothing."""


def test_a_journal_keeps_what_was_done_since_the_state_was_written(app: Celery, prefix: str) -> None:
    """Who opens the agent does it again, and says nothing again; then the whole state is written."""
    name = f"journal.{prefix}"
    hosted_as(app, name, Journaled)
    player, ref = Player(app, name), agent(name, app=app)
    journal = player.keys.journal(name)
    lengths = []
    for n in (1, 10, 100, 1000, 10_000):
        ref.tell("add_twice", n)
        assert player.handle() is None
        lengths.append((player.state()["total"], player.client.llen(journal)))
        player.client.delete(ref.queue)  # what it told itself
    assert lengths == [(1, 0), (1, 1), (1, 2), (1111, 0), (1111, 1)]
    assert json.loads(player.client.lindex(journal, 0)) == ["add_twice", [10_000], {}]
    player.die()
    vars(app).pop("_hardening_residents")
    other = Player(app, name, "w2")
    ref.tell("look")
    with telemetry.capture("hardening.agent.restored") as told:
        assert other.handle() is None
    events: list[Any] = list(told)
    assert [event.entries for event in events] == [1]
    assert (other.state()["total"], other.client.llen(journal)) == (11_111, 0)
    assert other.client.llen(ref.queue) == 0
