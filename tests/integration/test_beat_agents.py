"""Periodic messages of agents: through the mailbox, each slot once, for as long as the agent is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from beat_schedules import Owner, register_periodic
from beat_schedules.errors import ScheduleRefused
from beat_schedules.events import EntryEnded, SlotDropped
from hardening import agent
from hardening.core import telemetry
from hardening.core.scripts import mailing
from hardening.delivery import agent as named_agent
from hardening.delivery import queue
from tests.integration.agent_cases import Ledger, hosted_as
from tests.integration.agent_player import Player
from tests.integration.scheduling import Scheduling, named

if TYPE_CHECKING:
    from celery import Celery

    from hardening.agents.ref import AgentRef


@pytest.fixture
def scheduling(app: Celery, unhurried: None) -> Scheduling:  # noqa: ARG001 - it is a condition
    """Nothing is declared."""
    return Scheduling(app)


@pytest.fixture
def ref(app: Celery, prefix: str) -> AgentRef:
    """An agent, hosted."""
    name = f"ledger.{prefix}"
    hosted_as(app, name)
    player = Player(app, name, "founder")
    mailing.found(player.keys, name, 2).run(player.client)
    return agent(name, app=app)


def pasts(scheduling: Scheduling, name: str) -> list[str]:
    """What became of its slots, the last first."""
    return [past.what for past in scheduling.schedules.history(name)]


def test_an_agents_ticks_go_through_its_mailbox(app: Celery, scheduling: Scheduling, ref: AgentRef) -> None:
    """In order with all others, applied once; while one has not ended no other is sent, halted or not."""
    leader, player = scheduling.led(), Player(app, ref.name)
    entry = register_periodic(ref, "restock", 60, ("add", 5))
    assert (entry.name, entry.owner) == (f"{ref.queue}/restock", ref.queue)
    ref.tell("add", 1)
    scheduling.owe(entry.name, 10)
    assert scheduling.tick(leader).sent == 1
    scheduling.owe(entry.name, 5)
    assert scheduling.tick(leader).sent == 0
    assert player.handle_all() == [None, None]
    assert player.state()["total"] == 6
    ref.pause()
    for _ in range(2):
        scheduling.owe(entry.name, 5)
        scheduling.tick(leader)
    assert player.handle_all() == []
    ref.resume()
    assert player.handle_all() == [None]
    assert player.state()["total"] == 11
    assert pasts(scheduling, entry.name) == ["overlapped", "sent", "overlapped", "sent"]
    scheduling.verify()


@pytest.mark.parametrize("end", ["stopped", "unknown"])
def test_they_end_with_it(scheduling: Scheduling, ref: AgentRef, app: Celery, end: str) -> None:
    """Without being renewed; parked, it is still there."""
    leader = scheduling.led()
    tick = app.signature("shop.tick", args=(1,))
    entry = register_periodic(ref, "tick", 60, tick)
    mailing.halt(scheduling.keys, ref.name, mailing.Halt.PARKED).run(scheduling.client)
    for _ in range(2):
        scheduling.owe(entry.name, 10)
        assert scheduling.tick(leader).sent == 1
    assert len(scheduling.sent()) == 2
    if end == "stopped":
        ref.stop()
    else:
        scheduling.client.delete(scheduling.keys.mailbox(ref.queue))
    scheduling.owe(entry.name, 5)
    with telemetry.capture("hardening.entry.ended") as told:
        assert scheduling.tick(leader).sent == 0
    assert [event.entry for event in named(told, EntryEnded)] == [entry.name]
    assert list(scheduling.schedules) == []
    with pytest.raises(ScheduleRefused, match="not hosted" if end == "unknown" else "is stopped"):
        register_periodic(ref, "tick", 60, tick)


def test_a_tick_that_finds_no_room_is_a_dead_letter(scheduling: Scheduling, ref: AgentRef) -> None:
    """Once; the entry goes on with its next slot. So does what is sent out of turn."""
    leader = scheduling.led()
    entry = register_periodic(ref, "tick", 60, ("add", 5), overlap="allow")
    assert entry.definition is not None
    assert entry.definition.overlap == "allow"
    for _ in range(2):
        ref.tell("add", 1)
    slot_ms = scheduling.owe(entry.name, 10)
    with telemetry.capture("hardening.slot") as told:
        assert scheduling.tick(leader).sent == 0
    assert [(one.slot_ms, one.why) for one in named(told, SlotDropped)] == [(slot_ms, "mailbox_full")]
    assert len(told) == 1
    assert scheduling.next_ms(entry.name) > slot_ms
    assert scheduling.schedules.run_now(entry.name).status() == "dead"
    assert scheduling.client.llen(ref.queue) == 2
    letters = scheduling.client.xrange(scheduling.keys.dlq)
    assert [letter[1][b"reason"] for letter in letters] == [b"mailbox_full"] * 2
    scheduling.verify()


def test_an_agent_asks_for_its_own_ticks(app: Celery, scheduling: Scheduling, prefix: str) -> None:
    """Whenever it is opened: the slots stay."""

    def on_start(self: Ledger) -> None:
        register_periodic(self, "tick", 60, ("add", 7))

    name = f"ticking.{prefix}"
    hosted_as(app, name, on_start=on_start)
    leader, player = scheduling.led(), Player(app, name)
    mailing.found(player.keys, name, 10).run(player.client)
    agent(name, app=app).tell("look")
    assert player.handle_all() == [None]
    slot_ms = scheduling.owe(f"agent.{name}/tick", -50_000)
    vars(app).pop("_hardening_residents")
    agent(name, app=app).tell("look")
    assert player.handle_all() == [None]
    assert scheduling.next_ms(f"agent.{name}/tick") == slot_ms
    scheduling.owe(f"agent.{name}/tick", 10)
    assert scheduling.tick(leader).sent == 1
    assert player.handle_all() == [None]
    assert player.state()["total"] == 7


def test_a_recipient_will_do_and_other_owners_are_refused(app: Celery, scheduling: Scheduling, ref: AgentRef) -> None:
    """In one line that says what is expected."""
    app.set_current()
    assert register_periodic(named_agent(ref.name), "tick", 60, ("add", 5)).owner == ref.queue
    refused: list[tuple[Any, Any, str]] = [
        (queue("q"), app.signature("t"), "its owner is a queue, expected an agent or an Owner"),
        (agent("nobody", app=app), app.signature("t"), "agent nobody is not hosted"),
        (Owner(app, "me"), ("add", 5), "only agents have handlers"),
        (ref, "add", r"expected a handler and its arguments: \('restock', 5\)"),
        (ref, (), "expected a handler"),
        (ref, (5, "add"), "expected a handler"),
        (ref, ("add", object()), "not JSON"),
    ]
    for owner, message, why in refused:
        with pytest.raises(ScheduleRefused, match=why):
            register_periodic(owner, "other", 60, message)
    with pytest.raises(ScheduleRefused, match=r"hand over the agent itself"):
        Owner(app, ref.queue)
    assert [entry.name for entry in scheduling.schedules] == [f"{ref.queue}/tick"]


def test_a_mailbox_needs_not_be_declared(app: Celery, scheduling: Scheduling, ref: AgentRef) -> None:
    """By the app of the beat, nor is anything bound to an exchange for it."""
    app.conf.task_create_missing_queues = False
    leader = scheduling.led()
    entry = register_periodic(ref, "tick", 60, ("add", 5))
    scheduling.owe(entry.name, 10)
    assert scheduling.tick(leader).sent == 1
    assert scheduling.client.llen(ref.queue) == 1
    assert scheduling.client.exists(f"_kombu.binding.{ref.queue}") == 0
