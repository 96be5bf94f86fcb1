"""Schedules at run time, in files, and with an owner; what happens while the last message still runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery.schedules import schedule as celery_schedule

from beat_schedules import Cron, Every, Once, Owner, Schedules, Solar, register_periodic
from beat_schedules.declaring import Declarer
from beat_schedules.definition import Definition, from_code
from beat_schedules.errors import ScheduleDeclared, ScheduleExists, ScheduleNotFound, ScheduleRefused
from hardening.core import telemetry
from hardening.core.deployment import settings_of
from tests.integration.scheduling import HOUR_MS, Scheduling

if TYPE_CHECKING:
    from pathlib import Path

    from celery import Celery


@pytest.fixture
def scheduling(app: Celery, unhurried: None) -> Scheduling:  # noqa: ARG001 - it is a condition
    """An entry of the code's."""
    scheduling = Scheduling(app)
    scheduling.declare(coded={"task": "shop.report", "schedule": 3600.0})
    return scheduling


def test_an_entry_is_added_changed_and_removed(scheduling: Scheduling) -> None:
    """While a beat leads, which is woken for it."""
    leader, found = scheduling.led(), scheduling.schedules
    scheduling.client.delete(leader.bell)
    entry = found.add("mine", "shop.tick", 60, args=(1,), options={"expires": 900}, overlap="skip")
    assert (entry.state, entry.origin, entry.attempts) == ("active", "runtime", 0)
    assert scheduling.client.llen(leader.bell) == 1
    before_ms = scheduling.next_ms("mine")
    assert 55_000 < before_ms - found.now() <= 60_000
    entry = found.update("mine", kwargs={"a": 1})
    assert scheduling.next_ms("mine") == before_ms
    assert entry.definition is not None
    assert (entry.definition.args, entry.definition.kwargs, entry.definition.overlap) == ([1], {"a": 1}, "skip")
    found.update("mine", schedule=3600)
    assert scheduling.next_ms("mine") - found.now() > 3_500_000
    slot_ms = scheduling.owe("mine", 100)
    assert scheduling.tick(leader).sent == 1
    assert scheduling.sent() == [("mine", slot_ms)]
    found.update("mine", args=[2], overlap="allow")
    scheduling.owe("mine", 50)
    assert scheduling.tick(leader).sent == 1
    assert [one["headers"]["argsrepr"] for one in scheduling.messages()] == ["(1,)", "(2,)"]
    found.remove("mine")
    assert [each.name for each in found] == ["coded"]
    assert scheduling.client.exists(scheduling.keys.beat_history("mine")) == 0
    with pytest.raises(ScheduleNotFound):
        found.history("mine")


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (Every(every=2), "every 2 s"), (2.5, "every 2.5 s"), ("0 2 * * *", "0 2 * * * (UTC)"),
        (Cron(cron="0 2 * * *", timezone="Europe/Berlin"), "0 2 * * * (Europe/Berlin)"),
        (Solar(solar="sunset", lat=1, lon=2), "sunset at 1, 2"),
        (Once(at=datetime(2099, 1, 1, tzinfo=UTC)), "once at 2099-01-01T00:00:00+00:00"),
        (datetime(2099, 1, 1, tzinfo=UTC), "once at 2099-01-01T00:00:00+00:00"),
        ({"every": 3}, "every 3 s"), ({"at": "2099-01-01T00:00:00Z"}, "once at 2099-01-01T00:00:00+00:00"),
    ],
)  # fmt: skip
def test_a_schedule_may_be_said_in_many_ways(scheduling: Scheduling, schedule: Any, text: str) -> None:
    """And is kept in one."""
    entry = scheduling.schedules.add("mine", "t", schedule)
    assert entry.definition is not None
    assert str(entry.definition.schedule) == text


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"schedule": 0}, "every: input should be greater than or equal to 0.1"),
        ({"schedule": True}, "schedule is True"),
        ({"schedule": "* *"}, "expected 5 fields"),
        ({"schedule": datetime(2099, 1, 1)}, "expected a time with its offset"),  # noqa: DTZ001 - that is the fault
        ({"schedule": datetime(1999, 1, 1, tzinfo=UTC)}, "is never due again"),
        ({"schedule": {"every": 1, "cron": "x"}}, "extra inputs are not permitted"),
        ({"schedule": {}}, "at: field required"),
        ({"task": ""}, "task: string should have at least 1 character"),
        ({"args": [object()]}, "args: not JSON"),
        ({"kwargs": {"a": float("nan")}}, "kwargs: not JSON"),
        ({"catch_up": "some"}, "catch_up: input should be 'skip', 'one' or 'all'"),
        ({"name": "a\nb"}, "expected a name of 1 to 200 printable characters"),
        ({"name": "x" * 201}, "expected a name of 1 to 200 printable characters"),
    ],
)
def test_what_cannot_be_a_schedule_is_refused(scheduling: Scheduling, said: dict[str, Any], told: str) -> None:
    """In one line, before Redis hears of it."""
    with pytest.raises(ScheduleRefused) as refused:
        scheduling.schedules.add(**{"name": "mine", "task": "t", "schedule": 5, **said})
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [*scheduling.schedules] == []


def test_what_code_declares_is_changed_there(scheduling: Scheduling) -> None:
    """And names are given once."""
    scheduling.led()
    found = scheduling.schedules
    found.add("mine", "t", 5)
    for name in ("mine", "coded"):
        with pytest.raises(ScheduleExists):
            found.add(name, "t", 5)
    with pytest.raises(ScheduleDeclared):
        found.update("coded", args=[1])
    with pytest.raises(ScheduleDeclared):
        found.remove("coded")
    missing: list[Any] = [found.get, found.update, found.remove, found.pause, found.resume, found.run_now]
    for method in missing:
        with pytest.raises(ScheduleNotFound, match="no schedule 'nobody'"):
            method("nobody")


def test_a_paused_entry_owes_nothing(scheduling: Scheduling) -> None:
    """Whoever declares it; also across a change of leaders and of code."""
    leader, found = scheduling.led(), scheduling.schedules
    slot_ms = scheduling.owe("coded", 1000)
    assert found.pause("coded")
    assert not found.pause("coded")
    assert scheduling.tick(leader).sent == 0
    leader.resign()
    scheduling.declare(coded={"task": "shop.report", "schedule": 3600.0, "args": [1]})
    leader = scheduling.led()
    assert found.get("coded").state == "paused"
    assert scheduling.sent() == []
    assert found.resume("coded")
    assert not found.resume("coded")
    assert scheduling.next_ms("coded") == slot_ms + HOUR_MS
    assert found.get("coded").state == "active"
    assert scheduling.tick(leader).sent == 0
    scheduling.owe("coded", 10)
    assert scheduling.tick(leader).sent == 1


def test_a_run_out_of_turn_starts_no_second_chain(scheduling: Scheduling) -> None:
    """The slots go on as they would have."""
    leader = scheduling.led()
    next_ms = scheduling.next_ms("coded")
    receipt = scheduling.schedules.run_now("coded")
    assert receipt.status() == "queued"
    assert scheduling.next_ms("coded") == next_ms
    assert scheduling.client.zcard(scheduling.keys.beat_due) == 1
    assert scheduling.tick(leader).sent == 0
    (message,) = scheduling.messages()
    assert (message["headers"]["task"], message["headers"]["id"]) == ("shop.report", receipt.id)
    assert [(past.what, past.id) for past in scheduling.schedules.history("coded")] == [("run_now", receipt.id)]
    scheduling.verify()


def test_history_is_bounded_and_what_is_not_history_is_left_out(scheduling: Scheduling) -> None:
    """Twenty slots by default."""
    leader = scheduling.led()
    for _ in range(25):
        scheduling.owe("coded", 1)
        scheduling.tick(leader)
    assert len(scheduling.schedules.history("coded")) == 20
    for line in (b"\xff", b"1 2", b"x sent 1 y", b"9" * 30 + b" sent 1 y"):
        scheduling.client.lpush(scheduling.keys.beat_history("coded"), line)
    assert len(scheduling.schedules.history("coded")) == 20


# -- overlap


@pytest.mark.parametrize("ended", ["acked", "dead", ""])
def test_a_slot_is_dropped_while_the_last_one_runs(scheduling: Scheduling, ended: str) -> None:
    """By the receipt of its message: acked, dead and forgotten ones do not run."""
    scheduling.declare(coded={"task": "t", "schedule": 3600, "overlap": "skip"})
    leader = scheduling.led()
    scheduling.owe("coded", 20)
    assert scheduling.tick(leader).sent == 1
    receipt = scheduling.keys.delivery(scheduling.schedules.get("coded").receipt)
    assert scheduling.client.hget(receipt, "state") == b"queued"
    second_ms = scheduling.owe("coded", 10)
    assert scheduling.tick(leader).sent == 0
    assert scheduling.schedules.history("coded")[0].what == "overlapped"
    assert scheduling.next_ms("coded") == second_ms + HOUR_MS
    if ended:
        scheduling.client.hset(receipt, "state", ended)
    else:
        scheduling.client.delete(receipt)
    scheduling.owe("coded", 5)
    assert scheduling.tick(leader).sent == 1


def test_one_slot_waits_for_the_last_one_to_end(scheduling: Scheduling) -> None:
    """However many come due meanwhile, the latest is sent, once."""
    scheduling.declare(coded={"task": "t", "schedule": 1.0, "overlap": "queue_one"})
    leader = scheduling.led()
    first_ms = scheduling.owe("coded", 3500)
    before_ms = scheduling.schedules.now()
    leader.run_once()
    after_ms = scheduling.schedules.now()
    assert scheduling.sent() == [("coded", first_ms)]
    assert scheduling.schedules.get("coded").state == "waiting"
    receipt = scheduling.keys.delivery(scheduling.schedules.get("coded").receipt)
    assert before_ms <= scheduling.client.zscore(scheduling.keys.beat_due, "coded") - 250 <= after_ms
    scheduling.client.hset(receipt, "state", "acked")
    scheduling.client.zadd(scheduling.keys.beat_due, {"coded": 1})
    leader.run_once()
    names = [slot for _, slot in scheduling.sent()]
    assert len(names) == 2
    assert names[1] >= first_ms + 3000
    assert (names[1] - first_ms) % 1000 == 0
    assert scheduling.schedules.get("coded").state == "active"
    scheduling.verify()


# -- owners


def test_periodic_messages_end_with_their_owner(app: Celery, scheduling: Scheduling) -> None:
    """At once when he says so, or when he was silent too long: to Redis it is the same."""
    leader, owner = scheduling.led(), Owner(app, "agent-7", ttl_s=60)
    tick = app.signature("shop.tick", args=("agent-7",), options={"priority": 3})
    entry = register_periodic(owner, "tick", timedelta(seconds=5), tick)
    assert (entry.name, entry.owner) == ("agent-7/tick", "agent-7")
    register_periodic(owner, "tick", 10, tick)
    assert scheduling.next_ms("agent-7/tick") - scheduling.schedules.now() > 5000
    slot_ms = scheduling.owe("agent-7/tick", 10)
    assert scheduling.tick(leader).sent == 1
    assert scheduling.client.pttl(scheduling.keys.beat_owner("agent-7")) > 50_000
    owner.end()
    scheduling.owe("agent-7/tick", 5)
    with telemetry.capture("hardening.entry.ended") as told:
        assert scheduling.tick(leader).sent == 0
    assert len(told) == 1
    assert [each.name for each in scheduling.schedules] == ["coded"]
    assert scheduling.client.zscore(scheduling.keys.beat_due, "agent-7/tick") is None
    priority = f"{app.conf.task_default_queue}\x06\x163"
    messages = [json.loads(raw) for raw in scheduling.client.lrange(priority, 0, -1)]
    assert [message["headers"]["hardening_slot"]["due_ms"] for message in messages] == [slot_ms]


# -- files


def test_files_declare_schedules_and_are_read_again(app: Celery, scheduling: Scheduling, tmp_path: Path) -> None:
    """TOML and JSON; a bad entry is quarantined, an unreadable file leaves what it declared before."""
    toml, js = tmp_path / "a.toml", tmp_path / "b.json"
    toml.write_text('[nightly]\ntask = "shop.a"\nschedule = {cron = "0 2 * * *", timezone = "Europe/Berlin"}\n'
                    '[bad]\ntask = "shop.b"\nschedule = "never"\n')  # fmt: skip
    js.write_text('{"often": {"task": "shop.c", "schedule": {"every": 5}}, "coded": {"task": "x", "schedule": 5}}')
    keys, files = settings_of(app).keys, (str(toml), str(js))
    leader = scheduling.led()
    leader._declarer = declarer = Declarer(app, keys, files)
    leader._is_declared = False
    scheduling.tick(leader)
    found = {entry.name: (entry.origin, entry.state) for entry in scheduling.schedules}
    assert found == {
        "nightly": ("file", "active"), "bad": ("file", "quarantined"), "often": ("file", "active"),
        "coded": ("code", "active"),
    }  # fmt: skip
    assert not declarer.has_changed()
    toml.write_text('[nightly]\ntask = "shop.z"\nschedule = {every = 60}\n')
    js.write_text("{")
    assert declarer.has_changed()
    leader._files_at_s = 0.0
    with telemetry.capture("hardening.schedule_file") as told:
        scheduling.tick(leader)
    assert len(told) == 1
    assert [(entry.name, entry.origin) for entry in scheduling.schedules] == [
        ("coded", "code"), ("nightly", "file"), ("often", "file"),
    ]  # fmt: skip
    leader.resign()
    # nor does a new leader, who has never read it, take its entries away
    other = scheduling.leader()
    other._declarer = Declarer(app, keys, (str(toml), str(js), str(tmp_path / "none.toml")))
    scheduling.tick(other)
    assert {entry.name for entry in scheduling.schedules} == {"coded", "nightly", "often"}
    js.write_text("[]")
    other._files_at_s = 0.0
    scheduling.tick(other)
    assert {entry.name for entry in scheduling.schedules} == {"coded", "nightly", "often"}
    other._declarer = Declarer(app, keys, (str(toml),))
    other._is_declared = False
    scheduling.tick(other)
    assert {entry.name for entry in scheduling.schedules} == {"coded", "nightly"}


def test_damage_is_mended_by_an_update(scheduling: Scheduling) -> None:
    """That says all that must be said; a run out of turn needs it too."""
    found = scheduling.schedules
    found.add("mine", "t", 5)
    scheduling.client.hset(scheduling.keys.beat_entry("mine"), "definition", "[")
    assert found.get("mine").state == "quarantined"
    with pytest.raises(ScheduleRefused, match="name at least task and schedule"):
        found.update("mine", args=[1])
    with pytest.raises(ScheduleRefused, match="cannot be read"):
        found.run_now("mine")
    assert found.update("mine", task="t", schedule=5).state == "active"
    assert Schedules.of(scheduling.app).get("mine").name == "mine"


def test_a_name_that_goes_meanwhile_is_not_found(scheduling: Scheduling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the change."""
    found = scheduling.schedules
    entry = found.add("mine", "t", 5)
    found.remove("mine")
    monkeypatch.setattr(Schedules, "get", lambda *_: entry)
    methods: list[Any] = [found.update, found.pause, found.run_now]
    for method in methods:
        with pytest.raises(ScheduleNotFound):
            method("mine")
    assert scheduling.messages() == []


@pytest.mark.parametrize(
    ("schedule", "told"),
    [(celery_schedule(5.0), "every 5 s"), (Every(every=5), "every 5 s"), ({"cron": "0 2 * * *"}, "0 2 * * * (UTC)")],
)
def test_code_may_say_it_in_celerys_ways(schedule: Any, told: str) -> None:
    """And in ours."""
    assert str(from_code("a", {"task": "t", "schedule": schedule}, "UTC").schedule) == told


def test_a_definition_nested_without_end_is_refused() -> None:
    """Python itself gives up on it."""
    with pytest.raises(ScheduleRefused):
        Definition.read("a", b'{"task": "t", "schedule": {"every": 5}, "args": ' + b"[" * 100_000)
