"""Beats: who leads, what is sent, and what becomes of what cannot be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery.beat import BeatLazyFunc
from celery.schedules import crontab
from redis.exceptions import OutOfMemoryError

from beat_schedules import events
from dlq import DeadLetters, Reason
from hardening.core import telemetry
from hardening.core.scripts.beating import Due, Sent, Slot
from tests.integration.scheduling import HOUR_MS, Scheduling

if TYPE_CHECKING:
    from celery import Celery


@pytest.fixture
def scheduling(app: Celery) -> Scheduling:
    """An hourly entry."""
    scheduling = Scheduling(app)
    scheduling.declare(hourly={"task": "shop.report", "schedule": 3600.0, "args": (1,), "kwargs": {"a": 2}})
    return scheduling


def named(events_: list[telemetry.Event], kind: type[Any]) -> list[Any]:
    """Those of one kind."""
    return [event for event in events_ if isinstance(event, kind)]


def test_one_leads_and_the_others_stand_by(scheduling: Scheduling) -> None:
    """Until it resigns: then the next leads at once, under a greater fence number."""
    with telemetry.capture("hardening.beat") as told:
        first, second = scheduling.led(), scheduling.leader()
        assert not second.run_once().is_leading
        assert first.run_once().is_leading
        assert first.resign()
        assert second.run_once().is_leading
        assert not first.run_once().is_leading
        assert not first.resign()
    assert [event.fence for event in named(told, events.BeatTookLead)] == [1, 2]
    assert [event.beat for event in named(told, events.BeatResigned)] == [first.name]
    assert scheduling.client.llen(scheduling.keys.beat_vacancy) == 1


def test_a_new_leader_wakes_nobody_and_waits_for_the_lease_of_the_old(scheduling: Scheduling) -> None:
    """Whoever stands by sleeps no longer than that lease lasts."""
    leader = scheduling.led()
    scheduling.client.pexpire(scheduling.keys.beat_leader, 300)
    assert scheduling.leader().run_once().wait_s <= 0.305
    assert leader.run_once().wait_s == 1.0


def test_a_slot_is_sent_with_what_its_entry_says(scheduling: Scheduling) -> None:
    """Task, arguments, the slot itself, and ids that follow from it."""
    leader = scheduling.led()
    due_ms = scheduling.next_ms("hourly")
    assert abs(due_ms - scheduling.schedules.now() - HOUR_MS) < 60_000
    slot_ms = scheduling.owe("hourly", 1000)
    assert scheduling.tick(leader).sent == 1
    (message,) = scheduling.messages()
    assert scheduling.sent() == [("hourly", slot_ms)]
    assert message["headers"]["task"] == "shop.report"
    assert message["headers"]["argsrepr"] == "(1,)"
    assert message["headers"]["celery_beat_task"] is True
    entry = scheduling.schedules.get("hourly")
    assert message["headers"]["id"] == entry.receipt
    assert scheduling.next_ms("hourly") == slot_ms + HOUR_MS
    assert [past.what for past in scheduling.schedules.history("hourly")] == ["sent"]
    scheduling.verify()


def test_a_leader_that_was_overtaken_is_not_heard(scheduling: Scheduling) -> None:
    """Whatever it still had in hand when it was frozen."""
    old = scheduling.led()
    slot_ms = scheduling.owe("hourly", 1000)
    due = Due("hourly", str(slot_ms), "1", 0, waits=False)
    scheduling.client.delete(scheduling.keys.beat_leader)
    new = scheduling.led()
    assert scheduling.sent() == [("hourly", slot_ms)]
    scheduling.owe("hourly", 500)
    assert old._settle(due, scheduling.schedules.now()) == 0
    assert old.token == ""
    assert new.token
    assert len(scheduling.sent()) == 1


def test_a_slot_that_was_sent_is_not_sent_again(scheduling: Scheduling) -> None:
    """A leader that did not hear the answer asks anew; what it read before is settled."""
    leader = scheduling.led()
    slot_ms = scheduling.owe("hourly", 1000)
    due = Due("hourly", str(slot_ms), scheduling.client.hget(scheduling.keys.beat_entry("hourly"), "revision").decode(),
              0, waits=False)  # fmt: skip
    now_ms = scheduling.schedules.now()
    assert leader._settle(due, now_ms) == 1
    assert leader._settle(due, now_ms) == 0
    assert scheduling.sent() == [("hourly", slot_ms)]


@pytest.mark.parametrize("slot", ["early", "again"])
def test_the_script_refuses_what_is_early_or_was_sent(scheduling: Scheduling, slot: str) -> None:
    """Also if the leader's clock, or its memory, is wrong."""
    leader = scheduling.led()
    owed_ms = scheduling.owe("hourly", 1000 if slot == "again" else -HOUR_MS)
    if slot == "again":
        scheduling.client.hset(scheduling.keys.beat_entry("hourly"), "sent_ms", owed_ms)
    definition = scheduling.schedules.get("hourly").definition
    assert definition is not None
    revision = scheduling.client.hget(scheduling.keys.beat_entry("hourly"), "revision").decode()
    one = Slot(leader.token, "hourly", revision, str(owed_ms), owed_ms, owed_ms + HOUR_MS)
    due = Due("hourly", str(owed_ms), revision, 0, waits=False)
    assert leader._send(one, definition, due, 0) is Sent.CHANGED
    assert scheduling.sent() == []


@pytest.mark.parametrize(
    ("policy", "expected"), [("skip", []), ("one", [3]), ("all", [0, 1, 2, 3])]
)  # fmt: skip
def test_what_was_missed_is_caught_up_as_the_entry_says(
    scheduling: Scheduling, policy: str, expected: list[int]
) -> None:
    """After three hours and a half without a beat."""
    scheduling.declare(hourly={"task": "shop.report", "schedule": 3600, "catch_up": policy})
    leader = scheduling.led()
    slot_ms = scheduling.owe("hourly", 3 * HOUR_MS + HOUR_MS // 2)
    scheduling.tick(leader)
    assert scheduling.sent() == [("hourly", slot_ms + n * HOUR_MS) for n in expected]
    assert scheduling.next_ms("hourly") == slot_ms + 4 * HOUR_MS
    history = [past.what for past in scheduling.schedules.history("hourly")]
    assert history == ["sent"] * len(expected) + ["missed"] * (policy != "all")


def test_crontabs_and_one_shots_are_declared_by_code(scheduling: Scheduling) -> None:
    """In the app's time zone, unless they name one."""
    scheduling.app.conf.update(timezone="Asia/Tokyo")
    at = datetime.now(UTC) + timedelta(hours=2)
    scheduling.declare(
        nightly={"task": "shop.a", "schedule": crontab(minute="0", hour="3")},
        there={"task": "shop.b", "schedule": crontab(minute=[5, 10], hour=3), "timezone": "Europe/Berlin"},
        once={"task": "shop.c", "schedule": at},
        often={"task": "shop.d", "schedule": timedelta(minutes=5)},
        sun={"task": "shop.e", "schedule": {"solar": "sunset", "lat": 52.5, "lon": 13.4}},
    )
    scheduling.led()
    found = {entry.name: str(entry.definition.schedule) for entry in scheduling.schedules if entry.definition}
    assert found == {
        "nightly": "0 3 * * * (Asia/Tokyo)", "there": "5,10 3 * * * (Europe/Berlin)", "often": "every 300 s",
        "once": f"once at {at.isoformat()}", "sun": "sunset at 52.5, 13.4",
    }  # fmt: skip
    nightly = scheduling.schedules.get("nightly").next_at
    assert nightly is not None
    assert (nightly.hour, nightly.minute) == (18, 0)


def test_a_one_shot_is_sent_once(scheduling: Scheduling) -> None:
    """One of the code's stays, finished, and is not sent by the next leader; one of run time goes."""
    at = datetime.now(UTC) + timedelta(hours=2)
    scheduling.declare(code={"task": "shop.c", "schedule": at})
    first = scheduling.led()
    scheduling.schedules.add("mine", "shop.d", at)
    for name in ("code", "mine"):
        scheduling.client.hset(scheduling.keys.beat_entry(name), "definition", (
            scheduling.schedules.get(name).definition.text.replace(  # type: ignore[union-attr]
                at.isoformat().replace("+00:00", "Z"), (at - timedelta(hours=3)).isoformat()
            )
        ))  # fmt: skip
        slot = (at - timedelta(hours=3)).timestamp() * 1000
        scheduling.client.hset(scheduling.keys.beat_entry(name), "slot_ms", int(slot))
        scheduling.client.zadd(scheduling.keys.beat_due, {name: int(slot)})
    assert scheduling.tick(first).sent == 2
    assert [entry.name for entry in scheduling.schedules] == ["code"]
    assert scheduling.schedules.get("code").state == "finished"
    assert [past.what for past in scheduling.schedules.history("mine")] == ["sent"]
    first.resign()
    scheduling.declare(code={"task": "shop.c", "schedule": at}, other={"task": "shop.x", "schedule": 60})
    scheduling.led()
    assert len(scheduling.sent()) == 2


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
            leader.run_once()
            entry_now = scheduling.schedules.get("lazy")
            assert (entry_now.attempts, entry_now.state) == (attempt, "failing")
            assert "LookupError: no such order" in entry_now.error
            pause_ms = scheduling.client.zscore(scheduling.keys.beat_due, "lazy") - scheduling.schedules.now()
            assert 1000 * 2 ** (attempt - 1) - 500 < pause_ms <= 1000 * 2 ** (attempt - 1)
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
    scheduling.client.config_set("maxmemory", "1mb")
    try:
        for _ in range(3):
            with pytest.raises(OutOfMemoryError):
                leader.run_once()
        assert scheduling.client.pttl(scheduling.keys.beat_leader) > 3000
    finally:
        scheduling.client.config_set("maxmemory", "0")
    assert scheduling.tick(leader).sent == 1
    assert scheduling.sent() == [("hourly", slot_ms)]
    assert scheduling.schedules.get("hourly").attempts == 0


def test_the_word_of_the_leaders_code_counts(scheduling: Scheduling) -> None:
    """What it declares no more goes; what was added at run time stays; what is owed stays owed."""
    scheduling.declare(
        old={"task": "t.old", "schedule": 60}, args={"task": "t.args", "schedule": 60, "args": [1]},
        times={"task": "t.times", "schedule": 3600},
    )  # fmt: skip
    first = scheduling.led()
    scheduling.schedules.add("mine", "t.mine", 60)
    slot_ms = scheduling.owe("args", 25_000)
    scheduling.owe("times", -1)
    first.resign()
    scheduling.declare(
        args={"task": "t.args", "schedule": 60, "args": [2]}, times={"task": "t.times", "schedule": 60},
        mine={"task": "t.stolen", "schedule": 1},
    )  # fmt: skip
    with telemetry.capture("hardening.entry") as told:
        scheduling.led()
    assert {entry.name: entry.origin for entry in scheduling.schedules} == {
        "args": "code", "times": "code", "mine": "runtime",
    }  # fmt: skip
    assert [event.entry for event in named(told, events.EntryQuarantined)] == ["mine"]
    assert scheduling.sent() == [("args", slot_ms)]
    assert scheduling.messages()[0]["headers"]["argsrepr"] == "(2,)"
    assert scheduling.next_ms("times") - scheduling.schedules.now() > 30_000


def test_the_same_code_is_declared_once(scheduling: Scheduling) -> None:
    """A failover reads nothing of what has not changed."""
    first = scheduling.led()
    first.resign()
    with telemetry.capture("hardening.schedules") as told:
        scheduling.led()
    assert told == []


def test_a_leader_that_is_overtaken_while_it_declares_stops(scheduling: Scheduling) -> None:
    """The entries are the new leader's."""
    leader = scheduling.leader()
    declarer = leader._declarer
    assert not declarer.declare("9 somebody", 1, lambda: True)
    assert [*scheduling.schedules] == []
    leader.run_once()
    scheduling.declare(other={"task": "t", "schedule": 5})
    assert not declarer.declare(leader.token, 1, lambda: False)
    assert scheduling.client.get(scheduling.keys.beat_declared) is not None
    assert scheduling.schedules.get("hourly").origin == "code"
