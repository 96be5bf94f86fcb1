"""Signals when something fails: replies are lost, Redis is away, processes fork, and many subscribe at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from hardening import aemit, emit, subscribe
from hardening.agents.router import EmitFailed
from hardening.agents.router.emitting import EMIT_TASK
from hardening.agents.router.routes import routes_of
from hardening.core import telemetry
from hardening.core.deployment import client_of
from hardening.core.errors import SpoolFull
from hardening.core.scripts import Call
from hardening.delivery import async_client
from hardening.delivery.fallback import fallback_of
from tests.forked import forked
from tests.integration.coroutines import arun
from tests.integration.spooling import AWAY, app_for, receipts
from tests.integration.telling import balance, charge_of, raws, waiting

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def charge(app: Celery) -> Any:
    """A task that has subscribed to everything."""
    charge = charge_of(app)
    subscribe("#", charge, durable=True)
    return charge


def lose_replies(monkeypatch: pytest.MonkeyPatch, count: int) -> list[str]:
    """The first replies to publications are lost; the names of all scripts that ran."""
    ran: list[str] = []
    run_on, run_async = Call.run_on, async_client.run_async

    def lose(call: Call) -> None:
        ran.append(call.script.name)
        if call.script.name == "emit" and ran.count("emit") <= count:
            raise RedisConnectionError("lost")

    def run_and_lose(self: Call, connection: Any) -> Any:
        reply = run_on(self, connection)
        lose(self)
        return reply

    async def run_and_lose_async(call: Call, pool: Any) -> Any:
        reply = await run_async(call, pool)
        lose(call)
        return reply

    monkeypatch.setattr(Call, "run_on", run_and_lose)
    monkeypatch.setattr("hardening.agents.router.emitting.run_async", run_and_lose_async)
    return ran


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.usefixtures("charge")
def test_a_lost_reply_doubles_nothing(app: Celery, queue: str, monkeypatch: pytest.MonkeyPatch, is_async: bool) -> None:
    """The repeat is recognised, and answered as the first attempt was."""
    emit("first", app=app)
    ran = lose_replies(monkeypatch, 2)
    told = arun(app, aemit("a", 1, app=app)) if is_async else emit("a", 1, app=app)
    assert (told.routed, ran) == (1, ["emit"] * 3)
    assert [args for _, args in waiting(app, queue)] == [["first", None], ["a", 1]]
    assert emit("b", app=app).routed == 1
    assert balance(app) == {"published": 3}


@pytest.mark.usefixtures("quiet", "charge")
@pytest.mark.parametrize("is_async", [False, True])
def test_what_may_have_been_emitted_is_not_emitted_again(
    app: Celery, queue: str, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    """The task that emits it later finds that it was, also when others were emitted since, and when it runs twice."""
    emit("first", app=app)
    lose_replies(monkeypatch, 2)
    options: Any = {"retries": 1, "app": app}
    with telemetry.capture("hardening.signal") as events:
        told = arun(app, aemit("a", 1, **options)) if is_async else emit("a", 1, **options)
    assert told.spooled is not None
    assert [event.name for event in events] == ["hardening.signal.spooled"]
    assert emit("b", 2, app=app).routed == 1
    ((task, args),) = [one for one in waiting(app, queue) if one[0] == EMIT_TASK]
    assert (task, args[:2]) == (EMIT_TASK, ["a", 1])
    for _ in range(2):
        assert app.tasks[EMIT_TASK](*args) == 1
    assert [args for name, args in waiting(app, queue) if name != EMIT_TASK] == [["first", None], ["a", 1], ["b", 2]]
    assert app.tasks[EMIT_TASK]("c", 3, "another", 1) == 1
    assert balance(app) == {"published": 5}


@pytest.mark.usefixtures("charge")
def test_who_emits_again_does_not_go_on_as_that_emitter(app: Celery, server: EmbeddedRedis, prefix: str) -> None:
    """The task may run twice, in two processes: what these emit next are two signals."""
    apps = [app, app_for(server.broker_url, prefix)]
    assert [one.tasks[EMIT_TASK]("a", 1, "m", 1) for one in apps] == [1, 1]
    assert [emit("b", app=one).routed for one in apps] == [1, 1]
    assert balance(app) == {"published": 3}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("is_async", [False, True])
def test_while_redis_is_away_a_signal_is_spooled(away: Celery, is_async: bool) -> None:
    """As a task, which a worker runs when Redis is back."""
    told = arun(away, aemit("a", 1, app=away, retries=0)) if is_async else emit("a", 1, app=away, retries=0)
    assert told.spooled is not None
    assert (told.routed, told.spooled.status()) == (0, "spooled")
    spool = fallback_of(away).spool
    assert receipts(spool) == [told.spooled.id]
    assert [one.publication.task for one in spool.messages()] == [EMIT_TASK]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("is_async", [False, True])
def test_while_redis_is_away_an_emitter_may_be_told(
    away: Celery, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    """By an error, by the log, or not at all; then nothing is kept."""

    def call(on_error: Any) -> Any:
        if is_async:
            return arun(away, aemit("a", 1, app=away, retries=0, on_error=on_error))
        return emit("a", 1, app=away, retries=0, on_error=on_error)

    with pytest.raises(EmitFailed, match=r"^the signal a was not taken by Redis, after 1 attempt: [^\n]+$") as failed:
        call("raise")
    assert (failed.value.signal, failed.value.attempts, failed.value.is_uncertain) == ("a", 1, False)
    assert isinstance(call("ignore").failed, EmitFailed)
    assert not caplog.records
    assert (call("log").routed, len(caplog.records)) == (0, 1)
    assert receipts(fallback_of(away).spool) == []


@pytest.mark.usefixtures("quiet")
def test_a_spool_that_cannot_take_it_is_told(prefix: str, tmp_path: Path) -> None:
    """Full, or nowhere to be written."""
    full = app_for(AWAY, prefix, hardening_spool_max_messages=1)
    assert emit("a", app=full, retries=0).spooled
    with pytest.raises(SpoolFull):
        emit("a", app=full, retries=0)
    nowhere = app_for(AWAY, prefix, hardening_spool_path=str(tmp_path))
    with pytest.raises(EmitFailed, match="not taken by Redis"):
        emit("a", app=nowhere, retries=0)


def test_a_full_redis_is_told(own_server: EmbeddedRedis, prefix: str) -> None:
    """It is not away: nothing is spooled, and the emitter is told what to do about it."""
    shop = app_for(own_server.broker_url, prefix)
    client_of(shop).config_set("maxmemory", 1)
    with pytest.raises(EmitFailed, match="free memory or raise maxmemory") as failed:
        emit("a", app=shop)
    assert isinstance(failed.value.cause, OutOfMemoryError)
    assert receipts(fallback_of(shop).spool) == []
    with pytest.raises(EmitFailed):
        shop.tasks[EMIT_TASK]("a", 1, "m", 1)


def test_an_emitter_that_redis_forgot_all_about_starts_anew(app: Celery, prefix: str, charge: Any) -> None:
    """Whatever it knew of subscriptions is not taken for what there is now."""
    assert emit("a", app=app).routed == 1
    client: Any = client_of(app)
    client.delete(*client.scan_iter(f"{prefix}:*", count=10_000))
    assert emit("a", app=app).routed == 0
    subscribe("b", charge, durable=True)
    assert (emit("a", app=app).routed, emit("b", app=app).routed) == (0, 1)


@pytest.mark.usefixtures("charge")
def test_a_child_has_its_own_emitters_and_subscriptions(app: Celery, queue: str) -> None:
    """Were it to number its signals as its parent does, they would be taken for repeats."""
    emit("parent", 0, app=app)
    with routes_of(app)._mutex:
        assert forked(lambda: emit("child", 1, app=app).routed == 1) == 0
    assert emit("parent", 2, app=app).routed == 1
    assert [args[1] for _, args in waiting(app, queue)] == [0, 1, 2]


_SUBSCRIBER = """
import sys
from tests.integration.spooling import app_for
from hardening import emit, subscribe, unsubscribe
broker, prefix = sys.argv[1:]
app = app_for(broker, prefix)
for line in sys.stdin:
    what, name = line.split()
    if what == "subscribe":
        made = subscribe(name, "t", queue=f"{prefix}.q", durable=True, app=app)
    elif what == "unsubscribe":
        unsubscribe(made, app=app)
    else:
        routed = emit(name, app=app).routed
    print(routed if what == "emit" else "done", flush=True)
"""


def test_processes_agree_on_who_has_subscribed(app: Celery, server: EmbeddedRedis, prefix: str) -> None:
    """What one was told is done, all others go by, whichever of them emits."""
    command = [sys.executable, "-c", _SUBSCRIBER, server.broker_url, prefix]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT, env=dict(os.environ)
    ) as process:

        def there(what: str, name: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{what} {name}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        for number in range(25):
            name = f"race.{number}"
            assert there("subscribe", name) == "done"
            assert emit(name, app=app).routed == 1
            subscribe(f"*.{number}", "t2", queue=f"{prefix}.r", durable=True, app=app)
            assert there("emit", name) == "2"
            assert there("unsubscribe", name) == "done"
            assert emit(name, app=app).routed == 1
        process.stdin.close()  # type: ignore[union-attr]
    assert len(raws(app, f"{prefix}.q")) == 50
