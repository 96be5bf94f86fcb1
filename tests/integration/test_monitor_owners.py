"""Owners of monitors: what they do when Redis is away, forgets, or does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening import demonitor, harden, list_monitors, monitor
from hardening.core import telemetry
from hardening.core.scripts import Call
from hardening.monitors import DownReason, stats
from hardening.monitors.errors import MonitorFailed
from hardening.monitors.owner import owner_of
from hardening.monitors.watching import prepare
from tests.eventually import eventually
from tests.integration.monitored import Heard, Targets

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys


@pytest.fixture
def targets(client: Redis, keys: Keys) -> Targets:
    """Workers to be played, and none yet."""
    return Targets(client, keys)


def test_one_that_is_on_its_way_is_not_set_twice(app: Celery, targets: Targets) -> None:
    """Though the owner's thread finds that Redis has fewer than this process."""
    owner, held = prepare("queue:nobody", "t", None, 60.0, "now", app)
    call = owner.begin(held)
    eventually(lambda: owner._watch._renew_at_s)  # it has compared
    call.run(targets.client)
    eventually(lambda: owner.table.is_idle)
    assert (stats(app=app).monitors, stats(app=app).downs) == (1, 1)


@pytest.mark.one_server
def test_without_redis_a_monitor_is_refused_or_set_later(own_server: EmbeddedRedis, prefix: str) -> None:
    """As asked; ending one never raises, and what was ended meanwhile is not there afterwards."""
    app = Celery(f"app-{prefix}", broker=own_server.broker_url, set_as_current=False)
    app.conf.update(hardening_prefix=prefix, hardening_lease_ttl_s=1.0)
    harden(app)
    heard = Heard()
    with own_server.client() as client:
        targets = Targets(client, owner_of(app).keys)
        target = targets.join("h:1:aa")
        kept = monitor(target, "kept", on_down=heard, app=app)
        own_server.kill()
        with pytest.raises(MonitorFailed, match=f"{target} is not monitored, Redis did not take it"):
            monitor(target, "refused", app=app)
        later = monitor(target, "later", on_down=heard, when="later", app=app)
        ended = monitor(target, "ended", when="later", app=app)
        assert (kept.is_kept, later.is_kept) == (True, False)
        assert demonitor(ended)
        own_server.restart()
        targets.join("h:1:aa")
        eventually(lambda: {one.tag for one in list_monitors(app=app)} == {"kept", "later"}, 20)
        targets.leave("h:1:aa")
        assert heard.soon(2) == [("kept", "exited"), ("later", "exited")]


def test_a_monitor_whose_reply_was_lost_is_no_monitor(
    app: Celery, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller was told so, though Redis has run the call."""
    target = targets.join("h:1:aa")
    run = Call.run

    def lose(call: Call, client: Redis) -> Any:
        reply = run(call, client)
        if call.script.name == "monitor":
            raise RedisConnectionError("the reply was lost")
        return reply

    with monkeypatch.context() as patch:
        patch.setattr(Call, "run", lose)
        with pytest.raises(MonitorFailed, match="the reply was lost"):
            monitor(target, "t", app=app)
    eventually(lambda: (stats(app=app).alive, stats(app=app).ended) == (0, 1))


def test_a_redis_that_forgot_is_told_again(app: Celery, targets: Targets, keys: Keys) -> None:
    """An owner that was held for dead, and lives, sets its monitors again, as old as they were."""
    heard = Heard()
    target = targets.join("h:1:aa")
    ref = monitor(target, "t", on_down=heard, app=app)
    (before,) = list_monitors(app=app)
    with telemetry.capture("hardening.monitor") as events:
        targets.client.delete(
            keys.monitors(owner_of(app).name), keys.monitor_since, keys.monitored(target), keys.owners
        )
        eventually(lambda: list_monitors(app=app) and events)
    (after,) = list_monitors(app=app)
    assert (after.id, after.since, after.stack) == (ref.id, before.since, before.stack)
    assert [event.name for event in events] == ["hardening.monitor.renewed"]
    targets.leave("h:1:aa")
    assert heard.soon() == [("t", DownReason.EXITED)]
