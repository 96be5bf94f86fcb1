"""Leaks: found once, cheaply, and listed; dead owners; notices; many processes at once."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from redis.exceptions import OutOfMemoryError

from hardening import demonitor, find_leaks, harden, list_monitors, monitor
from hardening.core import telemetry
from hardening.core.deployment import settings_of
from hardening.core.scripts import Script
from hardening.core.scripts import monitoring as scripts
from hardening.core.scripts.monitoring import Errand
from hardening.monitors import MonitorFilter, stats
from hardening.monitors.errors import MonitorFailed
from hardening.monitors.events import MonitorLeaked
from hardening.monitors.notices import Notices
from hardening.monitors.owner import owner_of
from hardening.monitors.service import MonitorService
from hardening.monitors.sweep import Report, Sweeper
from tests.eventually import eventually
from tests.integration.keeping import together
from tests.integration.monitored import Heard, Targets, keys_of_monitors

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys

DEAD = "gone:1:cafe"


@pytest.fixture
def targets(client: Redis, keys: Keys) -> Targets:
    """Workers to be played, and none yet."""
    return Targets(client, keys)


def owned(targets: Targets, owner: str, target: str, count: int, *, leak_after_ms: int = 300_000, **about: int) -> None:
    """Has another process set monitors; its lease is a long one."""
    ttl_ms = about.pop("ttl_ms", 600_000)
    for at in range(0, count, 500):
        errands = [
            Errand(f"{owner}#{number}", target, has_task=False, leak_after_ms=leak_after_ms, about='{"tag": "t"}')
            for number in range(at, min(at + 500, count))
        ]
        scripts.monitor(targets.keys, owner, ttl_ms, errands).run(targets.client)


def steady(sweeper: Sweeper) -> Sweeper:
    """One that has seen Redis for long enough."""
    sweeper._steady_since_s = 0.0
    return sweeper


def test_a_leak_is_reported_once_by_ten_who_race(app: Celery, targets: Targets) -> None:
    """As an event with tag and stack, however many look for it at once."""
    target = targets.join("h:1:aa")
    owned(targets, "a:1:aa", target, 500, leak_after_ms=1)
    sweepers = [steady(Sweeper(app, f"s{number}")) for number in range(10)]
    with telemetry.capture("hardening.monitor.leaked") as events:
        reports = [*together(10, lambda number: sweepers[number].run_once(at_once=True))]
        reports += [*together(10, lambda number: sweepers[number].run_once(at_once=True))]
    told = [event.monitor for event in events if isinstance(event, MonitorLeaked)]
    assert (len(told), len(set(told))) == (500, 500)
    assert sum(report.leaked for report in reports) == 500
    found = stats(app=app)
    assert (found.alive, found.leaked, found.leaks) == (500, 500, 500)


def test_a_leak_is_logged_with_tag_and_stack(app: Celery, targets: Targets, caplog: pytest.LogCaptureFixture) -> None:
    """By the owner itself, if nobody else is there; and it stays listed until it is ended."""
    target = targets.join("h:1:aa")
    with caplog.at_level(logging.WARNING, "hardening.monitors"):
        ref = monitor(target, "forgotten", leak_after=0.1, app=app)
        monitor(target, "young", app=app)
        eventually(lambda: stats(app=app).leaked == 1)
        eventually(lambda: caplog.records)
    (record,) = caplog.records
    assert "tag 'forgotten'" in record.message
    assert "in test_a_leak_is_logged_with_tag_and_stack" in record.message
    (leak,) = find_leaks(app=app)
    assert (leak.id, leak.tag, leak.is_leaked) == (ref.id, "forgotten", True)
    assert [one.tag for one in find_leaks(0, app=app)] == ["forgotten", "young"]
    assert [one.tag for one in find_leaks(0, filter=MonitorFilter(tag="y*"), app=app)] == ["young"]
    assert find_leaks(3600, app=app) == []
    with pytest.raises(ValueError, match="age"):
        find_leaks(-1, app=app)
    assert demonitor(ref)
    assert find_leaks(app=app) == []


def test_what_is_not_alive_is_no_leak(app: Celery, targets: Targets) -> None:
    """A dead owner's is removed; one whose target vanished without a word is told of."""
    sweeper = steady(Sweeper(app, "s"))
    target = targets.join("h:1:aa")
    vanishing = targets.join("h:2:bb")
    owned(targets, DEAD, target, 3, leak_after_ms=1)
    targets.client.zadd(targets.keys.owners, {DEAD: 1})
    owned(targets, "a:1:aa", vanishing, 2, leak_after_ms=1)
    targets.client.zrem(targets.keys.leases, "h:2:bb")
    assert find_leaks(0, app=app) == []
    _, looked_at, *leaks = scripts.leaks(targets.keys, 100).run(targets.client)
    assert (looked_at, leaks) == (5, [])
    assert scripts.reap(targets.keys, "a:1:aa", 100).run(targets.client) == [-1, 0]
    assert sweeper.run_once() == Report(told=2, orphaned=3)
    assert sweeper.run_once() == Report()
    found = stats(app=app)
    assert (found.alive, found.owners, found.orphaned, found.downs, found.leaks) == (0, 0, 3, 2, 0)
    targets.client.delete(targets.keys.monitor_downs("a:1:aa"))
    assert keys_of_monitors(targets.client, targets.keys) == set()


def test_nobody_is_judged_before_redis_was_there_for_a_lease(app: Celery, targets: Targets) -> None:
    """Owners and workers may only not be back yet."""
    sweeper = Sweeper(app, "s")
    sweeper.lost_sight()
    target = targets.join("h:1:aa")
    owned(targets, DEAD, target, 3)
    targets.client.zadd(targets.keys.owners, {DEAD: 1})
    targets.expire("h:1:aa")
    assert sweeper.run_once() == Report()
    assert steady(sweeper).run_once() == Report(told=3)


def test_one_at_a_time_looks_after_monitors(app: Celery, targets: Targets) -> None:
    """Until its turn is over; who was woken looks all the same."""
    owned(targets, "a:1:aa", targets.join("h:1:aa"), 1, leak_after_ms=1)
    one, two = (steady(Sweeper(app, name)) for name in ("one", "two"))
    targets.client.set(targets.keys.monitor_turn, "one", px=60_000)
    assert two.run_once() == Report()
    assert one.run_once() == Report(leaked=1)
    targets.client.set(targets.keys.monitor_turn, "one", px=60_000)
    targets.leave("h:1:aa")
    assert two.run_once(at_once=True) == Report(told=1)
    assert targets.client.get(targets.keys.monitor_turn) == b"two"


def test_an_expired_owners_traces_are_found(app: Celery, targets: Targets) -> None:
    """Its hash went by its TTL, before anybody swept; its name has what patterns are made of."""
    owner = "a[b]*:1:aa"
    target = targets.join("h:1:aa", "mail")
    owned(targets, owner, target, 300)
    owned(targets, owner, "queue:mail", 301)
    owned(targets, "other:1:aa", target, 2)
    targets.client.delete(targets.keys.monitors(owner))
    targets.client.zadd(targets.keys.owners, {owner: 1})
    assert len(list_monitors(app=app)) == 2
    with telemetry.capture("hardening.monitor.orphaned") as events:
        assert steady(Sweeper(app, "s")).run_once() == Report(orphaned=301)
    assert [(event.owner, event.removed) for event in events] == [(owner, 301)]  # type: ignore[attr-defined]
    assert (stats(app=app).orphaned, stats(app=app).alive) == (301, 2)
    assert targets.client.zcard(targets.keys.monitor_since) == 2
    assert targets.client.scard(targets.keys.monitored(target)) == 2
    assert not targets.client.exists(targets.keys.monitored("queue:mail"), targets.keys.monitor_queues)
    assert targets.client.zrange(targets.keys.owners, 0, -1) == [b"other:1:aa"]


def test_the_clock_here_changes_nothing(app: Celery, targets: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only that of Redis counts, for leases, ages and leaks."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86_400)
    heard = Heard()
    target = targets.join("h:1:aa")
    monitor(target, "t", on_down=heard, leak_after=3600, app=app)
    steady(Sweeper(app, "s")).run_once(at_once=True)
    (one,) = list_monitors(app=app)
    assert one.age_s < 60
    assert abs(one.since.timestamp() - real()) < 60
    assert (stats(app=app).leaks, stats(app=app).orphaned) == (0, 0)
    targets.leave("h:1:aa")
    assert heard.soon() == [("t", "exited")]


# -- notices


def test_a_down_is_told_by_one_message_whoever_sends_it(app: Celery, targets: Targets, queue: str) -> None:
    """With the down before its own arguments; also when whoever sent it died before he could say so."""
    target = targets.join("h:1:aa")
    ref = monitor(target, "t", on_down=app.signature("shop.tell", args=(17,), kwargs={"x": 1}), app=app)
    (one,) = list_monitors(app=app)
    assert one.on_down == "task:shop.tell"
    targets.leave("h:1:aa")
    eventually(lambda: targets.client.llen(queue) == 1)
    eventually(lambda: not targets.client.exists(targets.keys.monitor_owed, targets.keys.monitor_notices))
    call = {"task": "shop.tell", "args": [17], "kwargs": {"x": 1}, "options": {}}
    about = json.dumps({"tag": "t", "on_down": call})
    notice = f"{ref.id}\x1fexited\x1f1\x1f{target}\x1fexited\x1f{about}"
    targets.client.hset(targets.keys.monitor_notices, ref.id, notice)
    targets.client.zadd(targets.keys.monitor_owed, {ref.id: 0})
    with telemetry.capture("hardening.monitor") as events:
        sent = together(4, lambda _: Notices(app).run_once())
    assert (sum(sent), [event.name for event in events]) == (1, ["hardening.monitor.notice_sent"])
    assert targets.client.llen(queue) == 1
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue(queue).get(timeout=5)
        (down, number), kwargs, _ = message.payload
        message.ack()
    assert (number, kwargs, down["monitor"], down["tag"], down["reason"], down["target"]) == (
        17, {"x": 1}, ref.id, "t", "exited", target,
    )  # fmt: skip


def test_a_notice_that_cannot_be_sent_is_told_and_dropped(app: Celery, targets: Targets) -> None:
    """It holds up nothing; one that Redis does not take is kept."""
    for name, about in (("a", "no JSON"), ("b", "{}"), ("c", '{"on_down": 3}')):
        targets.client.hset(targets.keys.monitor_notices, name, f"{name}\x1fexited\x1f1\x1fx\x1fexited\x1f{about}")
        targets.client.zadd(targets.keys.monitor_owed, {name: 0})
    with telemetry.capture("hardening.monitor") as events:
        assert Notices(app).run_once() == 3
    assert {event.name for event in events} == {"hardening.monitor.tell_failed"}
    assert not targets.client.exists(targets.keys.monitor_owed, targets.keys.monitor_notices)


def test_a_notice_waits_while_it_cannot_be_published(app: Celery, targets: Targets, queue: str) -> None:
    """Here the queue's key is of another type for a while."""
    targets.client.set(queue, "not a list")
    ref = monitor("queue:nobody", "t", on_down=app.signature("shop.tell"), app=app)
    eventually(lambda: (targets.client.zscore(targets.keys.monitor_owed, ref.id) or 0) > 0)
    targets.client.delete(queue)
    targets.client.zadd(targets.keys.monitor_owed, {ref.id: 0})
    eventually(lambda: targets.client.llen(queue) == 1)


def test_a_service_looks_after_the_monitors_of_the_dead(app: Celery, targets: Targets, queue: str) -> None:
    """While there are any; what fails is told, and tried again."""
    asked: list[bool] = []

    def are_monitors() -> bool:
        asked.append(True)
        if len(asked) == 1:
            raise LookupError("once")
        return True

    service = MonitorService(app, name="w", are_monitors=are_monitors)
    steady(service._sweeper)
    target = targets.join("h:1:aa")
    about = '{"tag": "t", "on_down": {"task": "shop.tell", "args": [], "kwargs": {}, "options": {}}}'
    errand = Errand(f"{DEAD}#1", target, has_task=True, leak_after_ms=300_000, about=about)
    scripts.monitor(targets.keys, DEAD, 600_000, [errand]).run(targets.client)
    targets.leave("h:1:aa")
    with telemetry.capture("hardening.chore") as events:
        service.start()
        service.start()
        eventually(lambda: targets.client.llen(queue) == 1)
        service.stop()
        service.stop()
    assert [getattr(event, "consumer", "") for event in events] == ["w"]


# -- a full Redis, and many at once


@pytest.mark.one_server
def test_on_a_full_redis_monitors_end_and_none_begins(own_server: EmbeddedRedis, prefix: str) -> None:
    """What makes room, and what tells, goes on."""
    app = Celery(f"app-{prefix}", broker=own_server.broker_url, set_as_current=False)
    app.conf.update(hardening_prefix=prefix, hardening_lease_ttl_s=1.0)
    harden(app)
    heard = Heard()
    with own_server.client() as client:
        targets = Targets(client, owner_of(app).keys)
        target = targets.join("h:1:aa")
        ended = monitor(target, "ended", app=app)
        monitor(target, "told", on_down=heard, app=app)
        owned(targets, DEAD, target, 2, leak_after_ms=1)
        client.script_flush()
        client.config_set("maxmemory", 1)
        with pytest.raises(OutOfMemoryError):
            client.set("more", "x")
        with pytest.raises(MonitorFailed, match="free memory"):
            monitor(target, "refused", app=app)
        assert demonitor(ended)
        eventually(lambda: stats(app=app).leaked == 2)
        client.config_set("maxmemory", 0)
        client.zadd(targets.keys.owners, {DEAD: 1}, xx=True)
        client.config_set("maxmemory", 1)
        eventually(lambda: stats(app=app).orphaned == 2)
        targets.leave("h:1:aa")
        assert heard.soon() == [("told", "exited")]
        client.config_set("maxmemory", 0)
        eventually(lambda: keys_of_monitors(client, targets.keys) == set())


def calls_of(client: Any) -> dict[str, int]:
    """How often Redis has run each command, also inside of scripts."""
    return {name.removeprefix("cmdstat_"): of["calls"] for name, of in client.info("commandstats").items()}


@pytest.mark.one_server
def test_a_hundred_thousand_monitors_are_checked_in_no_time(
    own_server: EmbeddedRedis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred owners: a check touches what is a leak, by chunks, and nothing else.

    How long Redis serves nobody else meanwhile, ``benchmarks/monitors.py`` says.
    """
    app = Celery(f"app-{prefix}", broker=own_server.broker_url, set_as_current=False)
    app.conf.update(hardening_prefix=prefix)
    harden(app)
    checks_s, finds_s = [], []
    monkeypatch.setattr("hardening.monitors.sweep._BUDGET_S", 30.0)  # or a busy machine would leave some for later
    with own_server.client() as client:
        targets = Targets(client, settings_of(app).keys)
        target = targets.join("h:1:aa")
        for name in ("monitor_turn", "monitor_leaks"):
            Script.load(name).cache(client)
        sweeper = steady(Sweeper(app, "s"))
        for number in range(100):
            owned(targets, f"o:{number}:aa", target, 1000)
        for attempt in range(1, 4):
            owned(targets, f"l:{attempt}:aa", target, 500, leak_after_ms=1)
            client.wait(1, 2)  # for a ms or two: all of them are due
            client.config_resetstat()
            begun_s = time.perf_counter()
            report = sweeper.run_once(at_once=True)
            checks_s.append(time.perf_counter() - begun_s)
            did = calls_of(client)
            assert report == Report(leaked=500)
            assert did["evalsha"] == 1 + 3  # whose turn it is; 200, 200 and 100 leaks
            assert not did.keys() & {"scan", "keys", "zscan", "hscan", "sscan", "hgetall", "hvals"}
            assert sum(did.values()) < 10 * 500
            begun_s = time.perf_counter()
            assert len(find_leaks(app=app)) == min(500 * attempt, 1000)  # so many are listed at most
            finds_s.append(time.perf_counter() - begun_s)
        assert stats(app=app).alive == 101_500
    app.close()
    assert min(checks_s) < 0.5
    assert min(finds_s) < 0.5
