"""Monitors that nobody waits for: the owner's thread sets them."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from hardening import harden
from hardening.core.scripts import Call
from hardening.monitors import amonitoring, demonitor, list_monitors, monitor, monitoring, stats
from hardening.monitors.owner import owner_of
from tests.eventually import eventually
from tests.integration.monitored import Heard, Targets

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.keys import Keys

AWAY = "redis://127.0.0.1:1/0"


@pytest.fixture
def targets(client: Redis, keys: Keys) -> Targets:
    """Workers to be played, and none yet."""
    return Targets(client, keys)


@pytest.fixture
def held_back(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Calls that set monitors wait for this."""
    run, may_go = Call.run, threading.Event()

    def wait(call: Call, client: Any) -> Any:
        if call.script.name == "monitor":
            assert may_go.wait(10)
        return run(call, client)

    monkeypatch.setattr(Call, "run", wait)
    return may_go


def test_a_block_is_monitored_soon_and_told_as_any(app: Celery, targets: Targets) -> None:
    """Set by another thread, and ended by it."""
    heard, target = Heard(), targets.join("h:1:aa")
    with monitoring(target, "block", on_down=heard, app=app) as ref:
        assert not ref.is_kept
        eventually(lambda: [one.id for one in list_monitors(app=app)] == [ref.id], 2)
        with monitoring(target, "ended before", on_down=heard, app=app):
            eventually(lambda: len(list_monitors(app=app)) == 2, 2)
        targets.leave("h:1:aa")
        assert heard.soon() == [("block", "exited")]
    eventually(lambda: owner_of(app).table.is_idle)
    assert (stats(app=app).alive, stats(app=app).monitors) == (0, 2)


def test_what_has_ended_before_it_was_set_never_gets_to_redis(app: Celery, targets: Targets) -> None:
    """However many: as most blocks do, that are shorter than half a second."""
    target = targets.join("h:1:aa")
    with monitoring(target, "the one that keeps the thread busy", when="now", app=app):
        eventually(lambda: owner_of(app)._watch._renew_at_s)
        for number in range(500):
            with monitoring(target, f"block {number}", app=app) as ref:
                assert owner_of(app).table.get(ref.id) is not None
            assert demonitor(monitor(target, "by hand", when="later", app=app))
    eventually(lambda: owner_of(app).table.is_idle)
    found = stats(app=app)
    assert found.alive == 0
    assert found.monitors < 100
    assert found.monitors == found.ended


def test_what_ends_while_it_is_being_set_is_ended_in_redis_too(
    app: Celery, targets: Targets, held_back: threading.Event
) -> None:
    """Redis may hear of its end only after its begin."""
    with monitoring(targets.join("h:1:aa"), app=app) as ref:
        held = owner_of(app).table.get(ref.id)
        assert held is not None
        eventually(lambda: held.is_sent)
    held_back.set()
    eventually(lambda: (stats(app=app).monitors, stats(app=app).ended, stats(app=app).alive) == (1, 1, 0))
    eventually(lambda: owner_of(app).table.is_idle)


def test_it_is_tried_again_until_it_is_set_once(app: Celery, targets: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Redis has set it and its answer was lost."""
    run, left = Call.run, [RedisConnectionError("away"), RedisConnectionError("cut off")]

    def fail(call: Call, client: Any) -> Any:
        if call.script.name == "monitor" and left:
            if len(left) == 1:
                run(call, client)
            raise left.pop(0)
        return run(call, client)

    monkeypatch.setattr(Call, "run", fail)
    heard, target = Heard(), targets.join("h:1:aa")
    monitor(target, "t", on_down=heard, when="later", app=app)
    eventually(lambda: not left and owner_of(app).table.kept())
    assert (stats(app=app).alive, stats(app=app).monitors) == (1, 1)
    targets.leave("h:1:aa")
    assert heard.soon() == [("t", "exited")]


def test_on_a_full_redis_it_waits_and_nothing_else_does(
    app: Celery, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is renewed, and downs are told; when there is room it is set."""
    heard, first, second = Heard(), targets.join("h:1:aa"), targets.join("h:2:bb")
    kept = monitor(second, "kept", app=app)
    monitor(first, "told", on_down=heard, app=app)
    run, is_full, refused = Call.run, threading.Event(), threading.Event()

    def refuse(call: Call, client: Any) -> Any:
        if call.script.name == "monitor" and is_full.is_set():
            refused.set()
            raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'")
        return run(call, client)

    monkeypatch.setattr(Call, "run", refuse)
    is_full.set()
    with monitoring(second, "waits", app=app) as ref:
        assert refused.wait(10)
        before: Any = targets.client.zscore(targets.keys.owners, owner_of(app).name)
        targets.leave("h:1:aa")
        assert heard.soon() == [("told", "exited")]
        eventually(lambda: targets.client.zscore(targets.keys.owners, owner_of(app).name) > before)
        assert [one.id for one in list_monitors(app=app)] == [kept.id]
        is_full.clear()
        eventually(lambda: [one.id for one in list_monitors(app=app)] == [kept.id, ref.id])


def test_redis_that_is_away_holds_up_no_block(prefix: str) -> None:
    """Nor fails it."""
    app = harden(Celery(prefix, broker=AWAY, set_as_current=False))

    async def main() -> None:
        async with amonitoring("queue:q", app=app) as ref:
            assert not ref.is_kept

    with monitoring("queue:q", app=app) as ref:
        assert not ref.is_kept
    asyncio.run(main())
    assert owner_of(app).table.take_all() == []


@pytest.mark.parametrize("when", ["soon", "", None])
def test_another_word_is_refused(prefix: str, when: Any) -> None:
    """With the two that there are."""
    app = harden(Celery(prefix, broker=AWAY, set_as_current=False))
    with pytest.raises(ValueError, match="expected one of: now, later"):
        monitor("queue:q", when=when, app=app)
