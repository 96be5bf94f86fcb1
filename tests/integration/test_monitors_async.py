"""Monitors from a coroutine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from hardening import ademonitor, amonitor, amonitoring, harden, list_monitors
from hardening.core import telemetry
from hardening.monitors import awatching as room
from hardening.monitors import stats
from hardening.monitors.errors import MonitorFailed
from hardening.monitors.owner import owner_of
from tests.eventually import eventually
from tests.integration.monitored import Targets

if TYPE_CHECKING:
    from redis import Redis

    from hardening import Down
    from hardening.core.keys import Keys

pytestmark = pytest.mark.one_server


@pytest.fixture
def targets(client: Redis, keys: Keys) -> Targets:
    """Workers to be played, and none yet."""
    return Targets(client, keys)


def test_a_coroutine_is_told_in_its_own_loop(app: Celery, targets: Targets) -> None:
    """And a plain function in a thread; both once."""
    target = targets.join("h:1:aa")

    async def main() -> list[tuple[str, str]]:
        told: list[tuple[str, str]] = []
        over = asyncio.Event()
        here = asyncio.get_running_loop()

        async def on_down(down: Down) -> None:
            await asyncio.sleep(0)
            assert asyncio.get_running_loop() is here
            told.append((down.tag, down.reason.value))
            over.set()

        async def fail(_: Down) -> None:
            raise LookupError("no such thing")

        await amonitor(target, "failing", on_down=fail, app=app)
        await amonitor(target, "t", on_down=on_down, app=app)
        ended = await amonitor(target, "ended", on_down=on_down, app=app)
        assert await ademonitor(ended)
        await asyncio.to_thread(targets.leave, "h:1:aa")
        await asyncio.wait_for(over.wait(), 10)
        return told

    with telemetry.capture("hardening.monitor.tell_failed") as events:
        assert asyncio.run(main()) == [("t", "exited")]
    assert len(events) == 1


def test_a_block_cleans_up_when_it_is_cancelled(app: Celery, targets: Targets) -> None:
    """As by its end."""
    target = targets.join("h:1:aa")

    async def hold(entered: asyncio.Event) -> None:
        async with amonitoring(target, "t", when="now", app=app):
            entered.set()
            await asyncio.sleep(60)

    async def main() -> None:
        async with amonitoring(target, "short", when="now", app=app) as ref:
            assert [one.id for one in await asyncio.to_thread(list_monitors, app=app)] == [ref.id]
        entered = asyncio.Event()
        task = asyncio.create_task(hold(entered))
        await asyncio.wait_for(entered.wait(), 10)
        assert "t" in [one.tag for one in await asyncio.to_thread(list_monitors, app=app)]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    eventually(lambda: owner_of(app).table.is_idle)
    eventually(lambda: stats(app=app).alive == 0)


def test_a_call_that_is_cancelled_leaves_no_monitor(
    app: Celery, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though Redis may have run it."""
    target = targets.join("h:1:aa")
    run = room._run

    async def run_and_hang(app: Celery, call: Any) -> Any:
        await run(app, call)
        await asyncio.sleep(60)

    monkeypatch.setattr(room, "_run", run_and_hang)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(amonitor(target, "t", app=app), 0.3)

    asyncio.run(main())
    eventually(lambda: (stats(app=app).alive, stats(app=app).ended) == (0, 1))


def test_without_redis_it_is_refused_or_set_later(prefix: str) -> None:
    """As asked."""
    app = harden(Celery(prefix, broker="redis://127.0.0.1:1/0", set_as_current=False))

    async def main() -> None:
        with pytest.raises(MonitorFailed):
            await amonitor("queue:q", app=app)
        assert not (await amonitor("queue:q", when="later", app=app)).is_kept

    asyncio.run(main())
