"""Monitors: set, told once, ended, and gone without a trace."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from redis.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening import demonitor, list_monitors, monitor, monitoring, supervised_send
from hardening.core import telemetry
from hardening.core.scripts import Call
from hardening.monitors import MonitorFilter, Target, stats
from hardening.monitors.owner import leave_all, owner_of
from tests.eventually import eventually
from tests.integration.monitored import Heard, Targets, keys_of_monitors

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from hardening.core.keys import Keys
    from tests.integration.stage import Stage


@pytest.fixture
def targets(client: Redis, keys: Keys) -> Targets:
    """Workers to be played, and none yet."""
    return Targets(client, keys)


def test_a_worker_that_leaves_is_told_of_within_a_second(app: Celery, targets: Targets) -> None:
    """Once, with everything that its owner needs to know; then no trace of the monitor is left."""
    heard = Heard()
    target = targets.join("h:1:aa", node="shop@h")
    ref = monitor("shop@h", "the shop", on_down=heard, app=app)
    assert ref.target == target
    assert heard.downs == []
    targets.leave("h:1:aa")
    assert heard.soon(timeout_s=1.0) == [("the shop", "exited")]
    down = heard.downs[0]
    assert (down.monitor, down.target, down.how) == (ref.id, target, "exited")
    assert abs(down.at.timestamp() * 1000 - targets.now_ms()) < 5000
    eventually(lambda: keys_of_monitors(targets.client, targets.keys) == set())
    assert not demonitor(ref)
    assert len(heard.downs) == 1


def test_every_monitor_of_a_target_is_told_once(app: Celery, targets: Targets) -> None:
    """More than one script call takes, and each its own tag."""
    heard = Heard()
    target = targets.join("h:1:aa")
    for number in range(450):
        monitor(target, f"{number:03}", on_down=heard, app=app)
    targets.leave("h:1:aa")
    assert heard.soon(450) == [(f"{number:03}", "exited") for number in range(450)]
    eventually(lambda: stats(app=app).alive == 0)
    assert stats(app=app).downs == 450


def test_a_worker_that_falls_silent_is_told_of(app: Celery, targets: Targets) -> None:
    """Its process is on another host, as far as anybody can tell."""
    heard = Heard()
    target = targets.join("elsewhere:1:aa")
    monitor(target, "t", on_down=heard, app=app)
    targets.expire("elsewhere:1:aa")
    assert heard.soon() == [("t", "lease_lost")]
    assert heard.downs[0].how == "silent"


def test_a_worker_that_was_recovered_is_told_of(app: Celery, targets: Targets, stage: Stage) -> None:
    """Whoever is first to find it dead."""
    heard = Heard()
    target = targets.join("elsewhere:1:aa")
    monitor(target, "t", on_down=heard, app=app)
    targets.expire("elsewhere:1:aa")
    stage.recover()
    assert heard.soon() == [("t", "lease_lost")]


def test_a_worker_whose_process_is_gone_has_crashed(app: Celery, targets: Targets) -> None:
    """Seen from its own host."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    host = os.uname().nodename
    heard = Heard()
    target = targets.join(f"{host}:{child}:aa")
    alive = targets.join(f"{host}:{os.getpid()}:bb")
    monitor(target, "gone", on_down=heard, app=app)
    monitor(alive, "frozen", on_down=heard, app=app)
    targets.expire(f"{host}:{child}:aa")
    targets.expire(f"{host}:{os.getpid()}:bb")
    assert heard.soon(2) == [("frozen", "lease_lost"), ("gone", "crashed")]


@pytest.mark.parametrize("target", ["worker:nobody", "nobody@h", "queue:nobody", "agent:nobody", "task:nothing"])
def test_a_target_that_is_not_there_is_told_of_at_once(app: Celery, targets: Targets, target: str) -> None:
    """And nothing is kept."""
    heard = Heard()
    ref = monitor(target, "t", on_down=heard, app=app)
    assert not ref.is_kept
    assert heard.soon() == [("t", "unknown")]
    eventually(lambda: keys_of_monitors(targets.client, targets.keys) == set())
    assert (stats(app=app).monitors, stats(app=app).downs) == (1, 1)


def test_a_queue_is_down_when_its_last_consumer_is(app: Celery, targets: Targets) -> None:
    """Not before."""
    heard = Heard()
    targets.join("h:1:aa", "mail", "other")
    targets.join("h:2:bb", "mail")
    monitor(Target.queue("mail"), "mail", on_down=heard, app=app)
    monitor("queue:other", "other", on_down=heard, app=app)
    targets.leave("h:1:aa")
    assert heard.soon() == [("other", "exited")]
    targets.expire("h:2:bb")
    assert heard.soon(2) == [("mail", "lease_lost"), ("other", "exited")]
    assert [(down.target, down.how) for down in heard.downs] == [("queue:other", "exited"), ("queue:mail", "silent")]


def test_a_queue_that_a_worker_stops_taking_from_is_down(app: Celery, targets: Targets) -> None:
    """``celery control cancel_consumer``: the worker lives on."""
    heard = Heard()
    targets.join("h:1:aa", "agent.mail", "other")
    monitor(Target.agent("mail"), "mail", on_down=heard, app=app)
    targets.join("h:1:aa", "other")
    assert heard.soon() == [("mail", "exited")]
    assert (heard.downs[0].target, heard.downs[0].how) == ("queue:agent.mail", "abandoned")


@pytest.mark.parametrize(("ends", "reason", "how"), [("ack", "exited", "acked"), ("bury", "crashed", "dead failed")])
def test_a_task_is_told_of_with_how_it_ended(
    app: Celery, stage: Stage, queue: str, ends: str, reason: str, how: str
) -> None:
    """By its receipt, when it is done or dead, and not when it is merely taken, begun, or given back."""
    heard = Heard()
    receipt = supervised_send("shop.charge", app=app)
    before = receipt.details()
    monitor(receipt, "t", on_down=heard, app=app)
    stage.join("w")
    stage.take("w", 1, queue)
    stage.begin("w", receipt.id)
    stage.release("w", receipt.id)
    stage.take("w", 1, queue)
    assert stats(app=app).alive == 1
    getattr(stage, ends)("w", receipt.id)
    assert heard.soon() == [("t", reason)]
    assert heard.downs[0].how == how
    assert set(receipt.details()) == set(before)
    monitor(receipt.id and f"task:{receipt.id}", "later", on_down=heard, app=app)
    assert heard.soon(2) == sorted([("later", reason), ("t", reason)])


def test_what_was_ended_is_not_told(app: Celery, targets: Targets) -> None:
    """Of two monitors of one target the other is."""
    heard = Heard()
    target = targets.join("h:1:aa")
    one, two = (monitor(target, tag, on_down=heard, app=app) for tag in ("one", "two"))
    assert [demonitor(one), demonitor(one)] == [True, False]
    targets.leave("h:1:aa")
    assert heard.soon() == [("two", "exited")]
    eventually(lambda: keys_of_monitors(targets.client, targets.keys) == set())
    assert [one.tag for one in heard.downs] == ["two"]
    assert not demonitor(two)


def test_a_block_cleans_up_however_it_ends(app: Celery, targets: Targets) -> None:
    """By an error, too."""
    target = targets.join("h:1:aa")
    seen: list[str] = []

    def fail() -> None:
        with monitoring(target, "t", when="now", app=app) as ref:
            seen.extend(one.id.removeprefix(ref.id) for one in list_monitors(app=app))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == [""]
    eventually(lambda: keys_of_monitors(targets.client, targets.keys) == set())
    found = stats(app=app)
    assert (found.alive, found.owners, found.monitors, found.ended, found.downs) == (0, 0, 1, 1, 0)


def test_what_is_kept_says_all(app: Celery, targets: Targets, keys: Keys) -> None:
    """In one hash of the owner, with a TTL, and in three indexes."""
    target = targets.join("h:1:aa")
    ref = monitor(target, "why", leak_after=7.5, app=app)
    owner = owner_of(app).name
    (one,) = list_monitors(app=app)
    assert (one.id, one.owner, one.target, one.tag) == (ref.id, owner, target, "why")
    assert (one.leak_after_s, one.is_leaked, one.on_down, one.task) == (7.5, False, "owner", "")
    assert one.age_s < 5
    assert one.stack[0].endswith(f"in {test_what_is_kept_says_all.__qualname__}")
    assert len(one.stack) == 8
    assert keys_of_monitors(targets.client, keys) == {
        "owners", f"monitors:{owner}", f"monitored:{target}", "monitor:since", "monitor:due",
    }  # fmt: skip
    assert 0 < targets.client.pttl(keys.monitors(owner)) <= 2000
    assert targets.client.zscore(keys.owners, owner) <= targets.now_ms() + 1000


def test_the_stack_can_be_switched_off(app: Celery, targets: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nobody looks at it."""
    settings = vars(app)["_hardening_settings"].model_copy(update={"monitor_stack_depth": 0})
    monkeypatch.setattr(app, "_hardening_settings", settings)
    monitor(targets.join("h:1:aa"), app=app)
    assert [one.stack for one in list_monitors(app=app)] == [()]


def test_monitors_are_filtered_and_counted(app: Celery, targets: Targets) -> None:
    """By pattern; a page has 250."""
    one, two = targets.join("h:1:aa"), targets.join("h:2:bb", "mail")
    for number in range(300):
        monitor(one, f"tag{number % 3}", app=app)
    monitor(two, "other", app=app)
    monitor("queue:mail", "other", app=app)
    assert len(list_monitors(app=app)) == 302
    assert len(list_monitors(limit=10, app=app)) == 10
    assert len(list_monitors(MonitorFilter(tag="tag1"), app=app)) == 100
    assert {found.target for found in list_monitors(MonitorFilter(tag="other"), app=app)} == {two, "queue:mail"}
    assert len(list_monitors(MonitorFilter(target="queue:*"), app=app)) == 1
    assert list_monitors(MonitorFilter(owner="nobody*"), app=app) == []
    assert list_monitors(MonitorFilter(task="t"), app=app) == []
    found = stats(app=app)
    assert (found.alive, found.owners, found.monitors) == (302, 1, 302)


def test_nothing_is_told_after_a_block(app: Celery, targets: Targets) -> None:
    """Also if the target is down before Redis hears that it has ended; a task that was to be told is not sent."""
    heard = Heard()
    target = targets.join("h:1:aa")
    with monitoring(target, "called", on_down=heard, when="now", app=app):
        pass
    with monitoring(target, "sent", on_down=app.signature("never.sent"), when="now", app=app):
        pass
    assert "sent" not in [one.tag for one in list_monitors(app=app)]  # that one has ended in Redis
    targets.leave("h:1:aa")
    eventually(lambda: keys_of_monitors(targets.client, targets.keys) <= {f"monitor:downs:{owner_of(app).name}"})
    eventually(lambda: owner_of(app).table.is_idle)
    assert (heard.downs, stats(app=app).owed) == ([], 0)


def test_a_process_that_ends_takes_along_what_it_had_ended(app: Celery, targets: Targets) -> None:
    """Though Redis had not heard of it yet."""
    with monitoring(targets.join("h:1:aa"), when="now", app=app):
        pass
    leave_all()
    assert keys_of_monitors(targets.client, targets.keys) == set()
    assert (stats(app=app).ended, stats(app=app).orphaned) == (1, 0)


def test_what_redis_did_not_take_is_ended_later(app: Celery, targets: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the owner's thread, which tries again."""
    run, failed = Call.run, threading.Event()

    def fail_once(call: Call, client: Any) -> Any:
        if call.script.name == "demonitor" and not failed.is_set():
            failed.set()
            raise RedisConnectionError("cut off")
        return run(call, client)

    monkeypatch.setattr(Call, "run", fail_once)
    with monitoring(targets.join("h:1:aa"), when="now", app=app):
        assert stats(app=app).alive == 1
    assert failed.wait(10)
    eventually(lambda: (stats(app=app).alive, stats(app=app).ended) == (0, 1))


def test_setting_and_ending_take_two_round_trips(
    app: Celery, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together, whatever the target; a block none, or one. Those of the owner's thread are not its caller's."""
    targets.join("h:1:aa", "mail", node="shop@h")
    demonitor(monitor("queue:mail", app=app))  # Redis has both scripts from now on
    sent: list[str] = []
    send: Any = Connection.send_packed_command

    def count(self: Any, *args: Any, **kwargs: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            sent.append("")
        send(self, *args, **kwargs)

    monkeypatch.setattr(Connection, "send_packed_command", count)
    for target in ("shop@h", "queue:mail", "worker:h:1:aa"):
        sent.clear()
        with monitoring(target, "t", app=app):
            assert not sent
        assert not sent
        with monitoring(target, "t", when="now", app=app):
            assert len(sent) == 1
        assert len(sent) == 1
        demonitor(monitor(target, "t", app=app))
        assert len(sent) == 3


def test_what_is_called_may_fail_and_the_next_is_called(app: Celery, targets: Targets) -> None:
    """In the order of the downs, and told as an event."""
    heard = Heard()
    one, two = targets.join("h:1:aa"), targets.join("h:2:bb")

    def fail(_: object) -> None:
        raise LookupError("no such thing")

    with telemetry.capture("hardening.monitor") as events:
        first = monitor(one, "first", on_down=fail, app=app)
        monitor(two, "second", on_down=heard, app=app)
        targets.leave("h:1:aa")
        eventually(lambda: "hardening.monitor.tell_failed" in [event.name for event in events])
        targets.leave("h:2:bb")
        heard.soon()
    names = [event.name.rpartition(".")[2] for event in events]
    assert names == ["down", "tell_failed", "down"]
    failed: Any = events[1]
    assert (failed.monitor, "no such thing" in failed.error) == (first.id, True)


@pytest.mark.parametrize("bad", ["", "nonsense", "boat:x", "queue:", "queue:a\x1fb", "queue:" + "x" * 600, 17])
def test_what_cannot_be_a_target_is_refused(app: Celery, bad: Any) -> None:
    """In one line that says what can."""
    with pytest.raises(ValueError, match=r"cannot monitor .*expected"):
        monitor(bad, app=app)


def test_arguments_that_make_no_sense_are_refused(app: Celery) -> None:
    """Before anything is asked of Redis."""
    with pytest.raises(ValueError, match="leak_after"):
        monitor("queue:q", leak_after=0, app=app)
    with pytest.raises(ValueError, match="201 characters"):
        monitor("queue:q", "t" * 201, app=app)
    with pytest.raises(TypeError, match="on_down"):
        monitor("queue:q", on_down=3, app=app)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on_down is a chain"):
        monitor("queue:q", on_down=app.signature("t") | app.signature("u"), app=app)
    with pytest.raises(TypeError, match="JSON"):
        monitor("queue:q", on_down=app.signature("t", args=(object(),)), app=app)
    assert owner_of(app).table.is_idle
