"""Beats: what becomes of what cannot be sent, of bad entries, and of a leader that was overtaken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery.beat import BeatLazyFunc
from celery.schedules import crontab
from redis.exceptions import OutOfMemoryError

from beat_schedules import events
from dlq import DeadLetters, Reason
from hardening.core import telemetry
from hardening.core.scripts import beating
from hardening.core.scripts.beating import Due, Slot
from tests.integration.scheduling import HOUR_MS, Scheduling, named

if TYPE_CHECKING:
    from celery import Celery


def test_a_bad_entry_is_quarantined_and_the_rest_runs_on(scheduling: Scheduling) -> None:
    """By its name, with what is wrong; mended, it is a schedule again."""
    good = {"task": "shop.a", "schedule": 60.0}
    scheduling.declare(
        good=good, object={"task": "shop.a", "schedule": object()}, typo={**good, "catchup": "all"},
        no_task={"schedule": 5}, bool={"task": "t", "schedule": True}, args={**good, "args": [object()]},
        string="never", zone={"task": "t", "schedule": crontab(), "timezone": "Mars/Olympus"},
    )  # fmt: skip
    with telemetry.capture("hardening.entry") as told:
        leader = scheduling.led()
    bad = ["args", "bool", "no_task", "object", "string", "typo", "zone"]
    assert sorted(event.entry for event in named(told, events.EntryQuarantined)) == bad
    assert {entry.name for entry in scheduling.schedules if entry.state == "quarantined"} == set(bad)
    assert "unknown key catchup" in scheduling.schedules.get("typo").fault
    assert "there is no time zone 'Mars/Olympus'" in scheduling.schedules.get("zone").fault
    scheduling.owe("good", 10)
    assert scheduling.tick(leader).sent == 1
    leader.resign()
    scheduling.declare(good=good, typo={**good, "catch_up": "all"})
    scheduling.led()
    assert [(entry.name, entry.state) for entry in scheduling.schedules] == [("good", "active"), ("typo", "active")]


@pytest.mark.parametrize(
    "damage",
    [
        {"definition": b"\xff\xfe"}, {"definition": b"[" * 10_000}, {"definition": b'{"task": "t"}'},
        {"slot_ms": b"soon"}, {"slot_ms": b"-5"}, {"revision": b""}, {"attempts": b"many"},
        {"slot_ms": b"99999999999999999999"},
    ],
)  # fmt: skip
def test_damage_in_redis_hurts_one_entry_alone(scheduling: Scheduling, damage: dict[str, bytes]) -> None:
    """Others may write there."""
    scheduling.declare(a={"task": "t.a", "schedule": 60}, b={"task": "t.b", "schedule": 60})
    leader = scheduling.led()
    scheduling.owe("a", 1000)
    scheduling.owe("b", 500)
    scheduling.client.hset(scheduling.keys.beat_entry("a"), mapping=damage)
    for _ in range(3):
        leader.run_once()
    assert "b" in dict(scheduling.sent())
    assert {entry.name for entry in scheduling.schedules} == {"a", "b"}
    assert scheduling.schedules.get("a").state in ("active", "quarantined")


def test_a_slot_that_cannot_be_sent_is_retried_and_then_buried(app: Celery, scheduling: Scheduling) -> None:
    """With its reason, and the next slot goes on; the ledger balances."""

    def broken() -> int:
        raise LookupError("no such order")

    entry = {"task": "shop.lazy", "schedule": 3600.0, "args": (BeatLazyFunc(broken),)}
    scheduling.declare(lazy=entry)
    leader = scheduling.led()
    slot_ms = scheduling.owe("lazy", 1000)
    with telemetry.capture("hardening.slot") as told:
        for attempt in range(1, 5):
            scheduling.client.zadd(scheduling.keys.beat_due, {"lazy": slot_ms})
            before_ms = scheduling.schedules.now()
            leader.run_once()
            after_ms = scheduling.schedules.now()
            entry_now = scheduling.schedules.get("lazy")
            assert (entry_now.attempts, entry_now.state) == (attempt, "failing")
            assert "LookupError: no such order" in entry_now.error
            again_ms = scheduling.client.zscore(scheduling.keys.beat_due, "lazy")
            assert before_ms <= again_ms - 1000 * 2 ** (attempt - 1) <= after_ms
        scheduling.client.zadd(scheduling.keys.beat_due, {"lazy": slot_ms})
        leader.run_once()
    assert [event.attempt for event in named(told, events.SlotFailed)] == [1, 2, 3, 4]
    (buried,) = named(told, events.SlotBuried)
    letter = DeadLetters.of(app).get(buried.letter)
    assert (letter.reason, letter.task, letter.queue) == (
        Reason.SCHEDULE_FAILED, "shop.lazy", app.conf.task_default_queue
    )  # fmt: skip
    assert "LookupError: no such order" in letter.error
    assert "in broken" in letter.traceback
    assert scheduling.next_ms("lazy") == slot_ms + HOUR_MS
    assert scheduling.schedules.get("lazy").attempts == 0
    assert scheduling.schedules.history("lazy")[0].what == "buried"
    scheduling.verify()
    # and whoever asks for something else gets it
    scheduling.app.conf.beat_schedule["lazy"]["args"] = (BeatLazyFunc(lambda: 7),)
    scheduling.owe("lazy", 10)
    assert scheduling.tick(leader).sent == 1
    assert scheduling.messages()[0]["headers"]["argsrepr"] == "(7,)"


def test_a_queue_of_another_type_fails_its_entry_alone(scheduling: Scheduling, queue: str) -> None:
    """And no slot is lost by it."""
    scheduling.declare(
        bad={"task": "t", "schedule": 60, "options": {"queue": f"{queue}.x"}}, good={"task": "t", "schedule": 60}
    )
    leader = scheduling.led()
    scheduling.client.set(f"{queue}.x", "no list")
    slot_ms = scheduling.owe("bad", 1000)
    scheduling.owe("good", 500)
    leader.run_once()
    assert [name for name, _ in scheduling.sent()] == ["good"]
    assert "WRONGTYPE" in scheduling.schedules.get("bad").error
    scheduling.client.delete(f"{queue}.x")
    scheduling.client.zadd(scheduling.keys.beat_due, {"bad": slot_ms})
    leader.run_once()
    assert scheduling.client.llen(f"{queue}.x") == 1
    scheduling.verify()


@pytest.mark.parametrize("state", ["full", "free"])
def test_a_full_redis_costs_no_slot(scheduling: Scheduling, state: str) -> None:
    """The lead is renewed, what is missed is passed over, but nothing is sent until there is room."""
    leader = scheduling.led()
    slot_ms = scheduling.owe("hourly", 1000)
    if state == "free":
        assert scheduling.tick(leader).sent == 1
        return
    scheduling.client.config_set("maxmemory", "1")  # byte: an idle server of little use so far has less than 1 MB
    try:
        for _ in range(3):
            scheduling.client.pexpire(scheduling.keys.beat_leader, 20_000)
            with pytest.raises(OutOfMemoryError):
                leader.run_once()
        assert scheduling.client.pttl(scheduling.keys.beat_leader) > 20_000
        scheduling.client.delete(scheduling.keys.beat_leader, scheduling.keys.beat_ticks)
        assert leader.run_once().is_leading
        definition = scheduling.schedules.get("hourly").definition
        assert definition is not None
        passed = Slot(leader.token, "hourly", "1", str(slot_ms), slot_ms, slot_ms)
        assert beating.pass_slots(scheduling.keys, passed, history_most=5).run(scheduling.client) == 1
    finally:
        scheduling.client.config_set("maxmemory", "0")
    assert scheduling.tick(leader).sent == 1
    assert scheduling.sent() == [("hourly", slot_ms)]
    assert scheduling.schedules.get("hourly").attempts == 0


def test_lazy_arguments_need_the_code(scheduling: Scheduling) -> None:
    """A beat whose code does not declare the entry says so."""
    scheduling.declare(lazy={"task": "t", "schedule": 60, "kwargs": {"a": BeatLazyFunc(lambda: 1)}})
    leader = scheduling.led()
    scheduling.owe("lazy", 10)
    scheduling.app.conf.beat_schedule = {}
    leader.run_once()
    assert "this beat's code does not declare it" in scheduling.schedules.get("lazy").error


def test_what_cannot_even_be_buried_is_quarantined(scheduling: Scheduling, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others go on."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no message")

    monkeypatch.setattr("beat_schedules.leader.message_of", broken)
    monkeypatch.setattr("beat_schedules.leader.bare_message_of", broken)
    leader = scheduling.led()
    scheduling.owe("hourly", 10)
    scheduling.client.hset(scheduling.keys.beat_entry("hourly"), "attempts", 4)
    leader.run_once()
    assert scheduling.schedules.get("hourly").fault == "RuntimeError: no message"
    assert scheduling.client.zcard(scheduling.keys.beat_due) == 0


def test_an_overtaken_leader_can_say_nothing_of_a_slot(scheduling: Scheduling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that it was missed, nor that it failed, nor that it is to be buried or set aside."""
    old = scheduling.led()
    slot_ms = scheduling.owe("hourly", 5 * HOUR_MS)
    revision = scheduling.client.hget(scheduling.keys.beat_entry("hourly"), "revision").decode()
    token = old.token
    scheduling.client.set(scheduling.keys.beat_leader, "99 other")
    before = scheduling.client.hgetall(scheduling.keys.beat_entry("hourly"))
    monkeypatch.setattr("beat_schedules.leader.message_of", lambda *_, **__: 1 / 0)
    now_ms = scheduling.schedules.now()
    for owed, attempts, late_ms in ((slot_ms, 0, 0), (slot_ms, 0, 5 * HOUR_MS), (slot_ms, 4, 5 * HOUR_MS)):
        old.token = token
        due = Due("hourly", str(owed), revision, attempts, waits=False)
        assert old._settle(due, now_ms - late_ms) == 0
    old.token = token
    assert old._settle(Due("hourly", "soon", revision, 0, waits=False), now_ms) == 0
    assert old.token == ""
    assert scheduling.client.hgetall(scheduling.keys.beat_entry("hourly")) == before
    assert scheduling.client.xlen(scheduling.keys.dlq) == 0


@pytest.mark.parametrize("ago_ms", [1000, 5 * HOUR_MS])
def test_an_entry_that_changes_under_the_leaders_hands_is_read_anew(scheduling: Scheduling, ago_ms: int) -> None:
    """Paused between the look and the send: nothing is sent, or passed over, that was read before."""
    leader = scheduling.led()
    slot_ms = scheduling.owe("hourly", ago_ms)
    revision = scheduling.client.hget(scheduling.keys.beat_entry("hourly"), "revision").decode()
    now_ms = scheduling.schedules.now()
    scheduling.schedules.pause("hourly")
    assert leader._settle(Due("hourly", str(slot_ms), revision, 0, waits=False), now_ms) == 0
    assert leader._settle(Due("hourly", "soon", revision, 0, waits=False), now_ms) == 0
    assert scheduling.sent() == []
    assert scheduling.schedules.history("hourly") == []
    assert scheduling.schedules.get("hourly").state == "paused"
    assert scheduling.next_ms("hourly") == slot_ms
    assert leader.token


def test_an_entry_that_has_not_changed_is_not_put_again(scheduling: Scheduling) -> None:
    """Nor is one removed by whoever does not lead."""
    scheduling.declare(same={"task": "t", "schedule": 60}, other={"task": "t", "schedule": 60})
    scheduling.led().resign()
    scheduling.declare(same={"task": "t", "schedule": 60}, other={"task": "t", "schedule": 61})
    scheduling.led()
    revisions = [entry.fields[b"revision"] for entry in scheduling.schedules]
    assert revisions == [b"2", b"1"]
    assert beating.undeclare(scheduling.keys, "same", token="9 other").run(scheduling.client) == -1  # noqa: S106 - who leads
    assert len([*scheduling.schedules]) == 2


def test_an_entry_goes_on_after_the_clock_of_redis_went_back(scheduling: Scheduling) -> None:
    """By a pause, or with other times: what was sent in the future is forgotten. Whoever leads is woken."""
    leader = scheduling.led()
    key = scheduling.keys.beat_entry("hourly")
    scheduling.client.hset(key, "sent_ms", scheduling.schedules.now() + HOUR_MS)
    scheduling.schedules.pause("hourly")
    scheduling.client.delete(leader.bell)
    scheduling.schedules.resume("hourly")
    assert scheduling.client.llen(leader.bell) == 1
    assert scheduling.client.hget(key, "sent_ms") is None
    scheduling.client.hset(key, "sent_ms", scheduling.schedules.now() + HOUR_MS)
    leader.resign()
    scheduling.declare(hourly={"task": "t", "schedule": 60})
    leader = scheduling.led()
    assert scheduling.client.hget(key, "sent_ms") is None
    scheduling.client.hdel(key, "revision")  # nor does it need one
    scheduling.owe("hourly", 10)
    assert scheduling.tick(leader).sent == 1


def test_who_stands_by_is_prepared(scheduling: Scheduling, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failover to the same code works nothing out, however many entries there are."""
    first, second = scheduling.led(), scheduling.leader()
    second.run_once()
    monkeypatch.setattr("beat_schedules.declaring.from_code", lambda *_: 1 / 0)
    first.resign()
    assert scheduling.tick(second).is_leading
    assert scheduling.schedules.get("hourly").state == "active"
