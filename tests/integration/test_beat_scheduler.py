"""The scheduler as Celery's beat runs it: it never ends by itself, and its ticks are cheap."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.beat import Service

from beat_schedules.leader import Leader, Report
from beat_schedules.scheduler import HardenedScheduler
from hardening import harden
from hardening.core import telemetry
from hardening.core.errors import ConfigError
from tests.integration.scheduling import Scheduling

if TYPE_CHECKING:
    from hardening.core.embedded import EmbeddedRedis

ENTRIES = 10_000


def calls(client: Any) -> int:
    """How many commands Redis has run, scripts and what they call included."""
    return sum(stat["calls"] for stat in client.info("commandstats").values())


@pytest.mark.one_server
def test_ten_thousand_entries_cost_a_tick_nothing(app: Celery) -> None:
    """Neither time nor traffic; 100 that are due at once take a fraction of a second, in several ticks."""
    few = Scheduling(app)
    few.declare(only={"task": "t", "schedule": 3600})
    leader = few.led()
    before = calls(few.client)
    leader.run_once()
    idle = calls(few.client) - before
    leader.resign()
    many = {f"entry-{n}": {"task": "shop.t", "schedule": 3600.0 + n, "args": [n]} for n in range(ENTRIES)}
    few.declare(**many)
    leader = few.led()
    assert few.client.scard(few.keys.beat_names) == ENTRIES
    before = calls(few.client)
    ticks = []
    for _ in range(20):
        begin = time.monotonic()
        leader.run_once()
        ticks.append(time.monotonic() - begin)
    assert calls(few.client) - before <= 20 * idle + 20
    assert sorted(ticks)[10] < 0.05
    for n in range(50):
        few.owe(f"entry-{n}", 100)
    begin = time.monotonic()
    assert few.tick(leader).sent == 50
    assert time.monotonic() - begin < 5
    assert len(few.sent()) == 50


def test_what_celery_asks_before_it_starts_does_no_io(app: Celery) -> None:
    """The banner names the deployment; a lazy scheduler ticks for nobody."""
    scheduler = HardenedScheduler(app, lazy=True, schedule_filename="celerybeat-schedule")
    assert f"deployment -> {app.conf.hardening_prefix}" in scheduler.info
    assert scheduler.tick() > 0
    scheduler.close()
    assert scheduler.max_interval == 1


def test_an_app_that_is_not_hardened_is_refused() -> None:
    """At once, with what to do."""
    with Celery("stock", broker="redis://localhost:1/0", set_as_current=False) as app, pytest.raises(ConfigError):
        HardenedScheduler(app, lazy=True)


def test_a_tick_waits_and_is_woken(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    """An entry added at run time is looked at when it is added, and the lead goes when beat is closed."""
    scheduling = Scheduling(app)
    scheduler = HardenedScheduler(app)
    caplog.set_level("INFO", "celery.beat")
    assert scheduler.tick() == 0.0
    assert "hardening.beat.took_lead" in caplog.text
    begin = time.monotonic()
    scheduler.tick()
    assert time.monotonic() - begin > 0.5
    scheduling.schedules.add("soon", "t", 0.2)
    for _ in range(3):
        scheduler.tick()
    assert scheduling.sent()
    scheduler.close()
    scheduler.close()
    assert scheduling.client.get(scheduling.keys.beat_leader) is None


def test_in_the_middle_of_a_tick_it_is_not_closed(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's signal handler may say so; it says so again when the tick has been left."""
    scheduling, scheduler = Scheduling(app), HardenedScheduler(app)

    def interrupted(leader: Leader) -> Report:
        once(leader)
        scheduler.close()
        assert scheduling.client.get(scheduling.keys.beat_leader) is not None
        raise SystemExit

    once = Leader.run_once
    monkeypatch.setattr(Leader, "run_once", interrupted)
    with pytest.raises(SystemExit):
        scheduler.tick()
    scheduler.close()
    assert scheduling.client.get(scheduling.keys.beat_leader) is None


def test_redis_away_is_waited_for(prefix: str, own_server: EmbeddedRedis) -> None:
    """Ticks go on, ever longer apart, and none raises; then the same beat leads again."""
    app = Celery("away", broker=own_server.broker_url, set_as_current=False)
    app.conf.update(hardening_prefix=prefix, hardening_socket_timeout_s=1.0)
    scheduler = HardenedScheduler(harden(app))
    scheduler.tick()
    own_server.kill()
    with telemetry.capture("hardening.beat") as told:
        pauses = [scheduler.tick() for _ in range(5)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0]
    assert [event.name for event in told] == ["hardening.beat.stood_by"]
    scheduler.close()
    own_server.restart()
    assert scheduler.tick() == 0.0
    assert scheduler._leader is not None
    assert scheduler._leader.token
    scheduler.close()
    app.close()


def test_nothing_that_a_tick_raises_ends_beat(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and the next tick is tried."""

    def broken(_leader: Leader) -> Report:
        raise RuntimeError("a bug")

    scheduler = HardenedScheduler(app)
    monkeypatch.setattr(Leader, "run_once", broken)
    with telemetry.capture("hardening.beat") as told:
        assert scheduler.tick() == 0.1
    assert [event.name for event in told] == ["hardening.beat.failed"]


def test_celery_finds_it_by_its_path(app: Celery) -> None:
    """As ``-S`` names it."""
    path: Any = "beat_schedules.scheduler:HardenedScheduler"
    service = Service(app, scheduler_cls=path, max_interval=1)
    assert isinstance(service.get_scheduler(lazy=True), HardenedScheduler)
