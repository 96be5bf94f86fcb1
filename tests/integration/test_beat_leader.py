"""Beats: who leads, what is sent, and what becomes of what cannot be."""

from __future__ import annotations

import gc
from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import crontab

from beat_schedules import events
from hardening.core import telemetry
from hardening.core.scripts.beating import Due, Sent, Slot
from tests.integration.scheduling import HOUR_MS, Scheduling, named


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
    assert leader.run_once().wait_s == 15.0


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


@pytest.mark.parametrize(("policy", "expected"), [("skip", []), ("one", [3]), ("all", [0, 1, 2, 3])])
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


def test_a_task_that_is_known_here_is_sent_as_it_is(scheduling: Scheduling) -> None:
    """With its own options, and by its signature."""

    @scheduling.app.task(name="shop.known", time_limit=70, soft_time_limit=60, shared=False)
    def known(order: int) -> None:
        """Is told an order."""

    scheduling.declare(
        good={"task": "shop.known", "schedule": 60, "args": [17], "options": {"expires": 60}},
        object={"task": known, "schedule": 60, "args": [18]},
        bad={"task": "shop.known", "schedule": 60, "args": [1, 2]},
    )
    leader = scheduling.led()
    for name in ("good", "object", "bad"):
        scheduling.owe(name, 10)
    assert scheduling.tick(leader).sent == 2
    headers = [message["headers"] for message in scheduling.messages()]
    assert [(one["argsrepr"], one["timelimit"]) for one in headers] == [("(17,)", [70, 60]), ("(18,)", [70, 60])]
    assert "TypeError" in scheduling.schedules.get("bad").error


def test_a_tick_ends_when_its_time_is_up(scheduling: Scheduling, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the lease is renewed in time; the rest is sent in the next, also of one entry that owes several."""
    every = {"task": "t", "schedule": 60}
    scheduling.declare(a=every, b=every, c={**every, "catch_up": "all"})
    leader = scheduling.led()
    scheduling.owe("a", 10)
    scheduling.owe("b", 5)
    first_ms = scheduling.owe("c", 150_000)
    monkeypatch.setattr("beat_schedules.leader._BUDGET_S", -1.0)
    assert [leader.run_once().sent for _ in range(6)] == [1, 1, 1, 1, 1, 0]
    caught_up = [slot_ms for name, slot_ms in scheduling.sent() if name == "c"]
    assert caught_up == [first_ms, first_ms + 60_000, first_ms + 120_000]


@pytest.mark.parametrize("overlap", ["skip", "queue_one"])
def test_what_was_sent_out_of_turn_counts_too(scheduling: Scheduling, overlap: str) -> None:
    """Each of them, until it has ended; it is sent itself whatever runs."""
    scheduling.declare(coded={"task": "t", "schedule": 3600, "overlap": overlap})
    leader, found = scheduling.led(), scheduling.schedules
    asked = [found.run_now("coded") for _ in range(25)]
    assert len(scheduling.client.hget(scheduling.keys.beat_entry("coded"), "asked").split()) == 20
    for number, receipt in enumerate(asked):
        scheduling.owe("coded", 10)
        assert scheduling.tick(leader).sent == 0, number
        scheduling.client.hset(scheduling.keys.delivery(receipt.id), "state", ("acked", "dead")[number % 2])
    scheduling.owe("coded", 10)
    assert scheduling.tick(leader).sent == 1
    scheduling.owe("coded", 10)
    assert scheduling.tick(leader).sent == 0
    last = found.run_now("coded")
    assert scheduling.client.hget(scheduling.keys.beat_entry("coded"), "asked").decode() == last.id


def test_the_garbage_collector_is_told_once_of_what_stays(
    scheduling: Scheduling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a beat has declared what there is for the first time: else it would look at all of it amid a burst."""
    calls: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(1))
    standing_by = scheduling.leader()
    leader = scheduling.led()
    assert not standing_by.run_once().is_leading
    assert calls == [1]
    leader._is_declared = False
    scheduling.tick(leader)
    assert calls == [1]
