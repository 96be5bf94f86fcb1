"""Monitors that stay when who set them has ended."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest

from hardening import ademonitor, amonitor, demonitor, find_leaks, list_monitors, monitor, monitoring
from hardening.core import telemetry
from hardening.core.deployment import client_of
from hardening.monitors import MonitorRef, stats
from hardening.monitors.errors import MonitorFailed
from hardening.monitors.notices import Notices
from hardening.monitors.owner import leave_all, owner_of
from hardening.monitors.sweep import Report, Sweeper
from tests.eventually import eventually
from tests.integration.monitored import Targets, keys_of_monitors

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from hardening.core.keys import Keys


@pytest.fixture
def targets(client: Redis, keys: Keys) -> Targets:
    """Workers to be played, and none yet."""
    return Targets(client, keys)


def sweep(app: Celery) -> Report:
    """Another process looks after all monitors, and sends what is owed."""
    report = Sweeper(app, "another").run_once(at_once=True)
    Notices(app).run_once()
    return report


def sent(app: Celery, queue: str) -> list[dict[str, Any]]:
    """The downs that wait to be told by task."""
    client: Any = client_of(app)
    bodies = (json.loads(raw)["body"] for raw in client.lrange(queue, 0, -1))
    return [json.loads(b64decode(body))[0][0] for body in reversed(list(bodies))]


def call_the_doctor(app: Celery) -> Any:
    """What is sent."""
    return app.signature("shop.call_the_doctor", kwargs={"room": "till"})


def test_it_outlives_its_owner_and_is_told_once(app: Celery, targets: Targets, queue: str) -> None:
    """Set again by an owner that was started again it is the same one."""
    target = targets.join("h:1:aa")
    ref = monitor(target, "till", on_down=call_the_doctor(app), durable_for=60, app=app)
    (before,) = list_monitors(app=app)
    assert (ref.id, ref.is_kept, ref.target) == (before.id, True, target)
    assert (before.is_durable, before.owner, before.task) == (True, owner_of(app).name, "")
    assert owner_of(app).table.is_idle  # this process need not look after it
    leave_all()
    assert [one.id for one in list_monitors(app=app)] == [ref.id]
    again = monitor(target, "till", on_down=call_the_doctor(app), durable_for=60, app=app)
    (after,) = list_monitors(app=app)
    assert (again.id, after.owner, after.since) == (ref.id, before.owner, before.since)
    other = monitor(target, "door", on_down=call_the_doctor(app), durable_for=60, app=app)
    ids = {ref.id, other.id}
    for watched, on_down in ((targets.join("h:2:bb"), call_the_doctor(app)), (target, app.signature("shop.close"))):
        ids.add((third := monitor(watched, "till", on_down=on_down, durable_for=60, app=app)).id)
        demonitor(third)
    assert len(ids) == 4
    targets.leave("h:1:aa")
    assert sweep(app).told == 2
    sweep(app)
    assert sorted((down["monitor"], down["reason"]) for down in sent(app, queue)) == sorted(
        [(ref.id, "exited"), (other.id, "exited")]
    )
    found = stats(app=app)
    assert (found.alive, found.owners, found.owed, found.monitors, found.downs) == (0, 0, 0, 4, 2)
    left = keys_of_monitors(targets.client, targets.keys)
    assert left == {f"monitor:downs:{one.id.removesuffix('#1')}" for one in (ref, other)}  # of nobody; they go
    assert all(0 < targets.client.pttl(f"{targets.keys.prefix}:{key}") <= 60_000 for key in left)


def test_it_may_be_told_set_again_and_told_again(app: Celery, targets: Targets, queue: str) -> None:
    """Though both have the same id: also before the first was sent, and when the target is not there at all."""
    targets.join("h:1:aa", "mail")

    def set_one() -> MonitorRef:
        return monitor("queue:mail", "till", on_down=call_the_doctor(app), durable_for=60, app=app)

    first = set_one()
    targets.leave("h:1:aa")
    Sweeper(app, "another").run_once(at_once=True)
    at_ms = targets.now_ms()
    eventually(lambda: targets.now_ms() > at_ms)
    second = set_one()
    assert (first.is_kept, second.is_kept, first.id) == (True, False, second.id)
    assert stats(app=app).owed == 2
    sweep(app)
    sweep(app)
    assert [down["reason"] for down in sent(app, queue)] == ["exited", "unknown"]


def test_its_time_is_bounded(app: Celery, targets: Targets, queue: str) -> None:
    """Then it is removed, and nobody is told; set again, its time begins anew."""
    target = targets.join("h:1:aa")
    short = monitor(target, "short", on_down=call_the_doctor(app), durable_for=0.3, app=app)
    longer = monitor(target, "longer", on_down=call_the_doctor(app), durable_for=0.3, app=app)
    monitor(target, "longer", on_down=call_the_doctor(app), durable_for=60, app=app)
    assert targets.client.pttl(targets.keys.monitors(short.id.removesuffix("#1"))) <= 600
    with telemetry.capture("hardening.monitor") as events:
        eventually(lambda: sweep(app).orphaned == 1)
    assert [(event.name, event.owner) for event in events] == [  # type: ignore[attr-defined]
        ("hardening.monitor.orphaned", short.id.removesuffix("#1"))
    ]
    assert [one.id for one in list_monitors(app=app)] == [longer.id]
    assert demonitor(longer)
    assert sent(app, queue) == []
    assert keys_of_monitors(targets.client, targets.keys) == set()


def test_it_is_ended_by_whomever(app: Celery, targets: Targets) -> None:
    """By what was returned, by its id alone, and by a block; what is no id is refused."""
    target = targets.join("h:1:aa")

    def set_one() -> MonitorRef:
        return monitor(target, "till", on_down=call_the_doctor(app), durable_for=60, app=app)

    assert [demonitor(set_one()), demonitor(set_one().id, app=app)] == [True, True]
    assert not demonitor(set_one().id.replace("durable:", "durable:0"), app=app)
    with monitoring(target, "till", on_down=call_the_doctor(app), durable_for=60, app=app):
        assert stats(app=app).alive == 1
    assert (stats(app=app).alive, stats(app=app).ended) == (0, 3)
    for bad in ("", "nonsense", "#1"):
        with pytest.raises(ValueError, match="no monitor's id"):
            demonitor(bad, app=app)


def test_it_is_reported_as_a_leak(app: Celery, targets: Targets) -> None:
    """As any other, its owner alive or not."""
    ref = monitor(
        targets.join("h:1:aa"), "till", on_down=call_the_doctor(app), leak_after=0.05, durable_for=60, app=app
    )
    leave_all()
    eventually(lambda: sweep(app).leaked == 1)
    assert [one.id for one in find_leaks(app=app)] == [ref.id]
    assert sweep(app).leaked == 0


@pytest.mark.one_server
def test_what_cannot_be_durable_is_refused(app: Celery, away: Celery) -> None:
    """In one line that says why."""
    call = call_the_doctor(app)
    with pytest.raises(TypeError, match="expected a signature"):
        monitor("queue:q", on_down=print, durable_for=60, app=app)
    for bad in (0, -1, 91 * 86_400, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="at most 90 days"):
            monitor("queue:q", on_down=call, durable_for=bad, app=app)
    with pytest.raises(ValueError, match="later"):
        monitor("queue:q", on_down=call, durable_for=60, when="later", app=app)
    assert keys_of_monitors(client_of(app), owner_of(app).keys) == set()
    with pytest.raises(MonitorFailed, match="set it again: it is the same one"):
        monitor("queue:q", on_down=call, durable_for=60, app=away)


@pytest.mark.one_server
def test_coroutines_set_them_too(app: Celery, away: Celery, targets: Targets) -> None:
    """And end them by their ids."""
    target = targets.join("h:1:aa")

    async def main() -> bool:
        ref = await amonitor(target, "till", on_down=call_the_doctor(app), durable_for=60, app=app)
        assert [one.id for one in await asyncio.to_thread(list_monitors, app=app)] == [ref.id]
        with pytest.raises(MonitorFailed, match="set it again: it is the same one"):
            await amonitor(target, "till", on_down=call_the_doctor(app), durable_for=60, app=away)
        return await ademonitor(ref.id, app=app)

    assert asyncio.run(main())
