"""Broadcasts while Redis is away, or is full: who spools, who raises, and what may be sent again."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from hardening import broadcast, harden
from hardening.core.errors import BroadcastFailed, BroadcastRefused, MessageDied, PublishFailed, SpoolFull
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import Script
from hardening.core.scripts.broadcasting import consume
from hardening.delivery import worker
from hardening.delivery.fallback import fallback_of
from hardening.delivery.flusher import Report
from tests.faults.proxy import Proxy
from tests.integration.spooling import AWAY, app_for, receipts
from tests.integration.stage import Stage

if TYPE_CHECKING:
    from hardening import BroadcastResult
    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server
STRATEGIES: list[Any] = ["best_effort", "at_least_one", "all_or_nothing"]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushes are the test's to make."""
    monkeypatch.setattr("hardening.delivery.flusher.Flusher.start", lambda _: None)


def failed(app: Celery, *recipients: Any, **options: Any) -> BroadcastResult:
    """The result of a broadcast that raises."""
    with pytest.raises(BroadcastFailed) as raised:
        broadcast("add", recipients, app=app, **options)
    assert type(raised.value) is BroadcastFailed
    result: BroadcastResult = raised.value.result
    return result


def test_best_effort_spools_for_each_recipient(server: EmbeddedRedis, prefix: str) -> None:
    """And each message is one message in the end, when Redis is back."""
    with Proxy(server.broker_url) as proxy, server.client() as client:
        app = app_for(proxy.url, prefix, hardening_socket_timeout_s=0.3)
        proxy.swallow()
        result = broadcast("add", [f"{prefix}.a", worker("w@h"), f"{prefix}.b"], app=app, timeout=0.5, retries=0)
        assert [(one.status, one.state) for one in result] == [("spooled", "spooled")] * 3
        assert not result.ok
        assert {one.prospect for one in result} == {"spooled: this host sends it when Redis is back"}
        assert not any(one.is_nowhere for one in result)
        assert receipts(fallback_of(app).spool) == [one.id for one in result.receipts]
        assert [one.status() for one in result.receipts] == ["spooled"] * 3
        proxy.forward()
        assert fallback_of(app).flusher.run_once() == Report(flushed=3)
        assert [one.status() for one in result.receipts] == ["queued"] * 3
        assert Stage(client, prefix).ledger().counters == {"published": 3}
        client.delete(worker("w@h").queue)


def test_a_spool_without_room_is_told_for_each(prefix: str) -> None:
    """Those that it took are safe."""
    app = app_for(AWAY, prefix, hardening_spool_max_messages=2)
    result = broadcast("add", ["a", "b", "c"], app=app, retries=0)
    assert [one.status for one in result] == ["spooled", "spooled", "unsent"]
    error = result["c"].error
    assert isinstance(error, PublishFailed)
    assert "nor was it spooled" in str(error)
    assert result["c"].is_nowhere
    assert isinstance(error.__cause__, SpoolFull)


@pytest.mark.parametrize("on_error", ["raise", "log", "ignore"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nobody_spools_who_was_not_asked_to(prefix: str, strategy: Any, on_error: Any) -> None:
    """It is told as was asked."""
    app = app_for(AWAY, prefix)
    options = {"strategy": strategy, "on_error": on_error, "retries": 0}
    result = (
        failed(app, "a", "b", **options) if on_error == "raise" else broadcast("add", ["a", "b"], app=app, **options)
    )
    assert [one.status for one in result] == ["unsent", "unsent"]
    assert {type(one.error) for one in result} == {PublishFailed}
    assert all(one.is_nowhere for one in result)
    assert receipts(fallback_of(app).spool) == []


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_only_best_effort_spools(prefix: str, strategy: Any) -> None:
    """Of the others the answer is asked now, and a spool would break what they promise."""
    app = app_for(AWAY, prefix)
    assert [one.status for one in failed(app, "a", "b", strategy=strategy, retries=0)] == ["unsent", "unsent"]
    assert receipts(fallback_of(app).spool) == []


def test_what_may_have_been_published_is_told(server: EmbeddedRedis, stage: Stage) -> None:
    """The answer was lost, and nobody asked again: the receipts tell, and it must not be sent once more."""
    recipients = [stage.list_key("a"), stage.list_key("b")]
    stage.join("v")
    stage.run(consume(stage.keys, "v", recipients))
    with Proxy(server.broker_url) as proxy:
        app = app_for(proxy.url, stage.prefix)
        broadcast("add", [stage.list_key("warm")], app=app)
        proxy.cut_when(Script.load("broadcast").sha.encode(), after_reply=True)
        result = failed(app, *recipients, strategy="all_or_nothing", retries=0)
        assert [(one.status, one.is_uncertain, one.is_nowhere) for one in result] == [("unsent", True, False)] * 2
        assert [one.status() for one in result.receipts] == ["queued", "queued"]


def test_a_redis_that_is_full_takes_nothing(own_server: EmbeddedRedis, prefix: str) -> None:
    """It is not away, so nothing is spooled; all of it may be sent again."""
    app = app_for(own_server.broker_url, prefix)
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        result = broadcast("add", ["a", "b"], app=app)
        assert [one.status for one in result] == ["unsent", "unsent"]
        assert all("OutOfMemoryError" in str(one.error) for one in result)
        assert all(one.is_nowhere for one in result)
        assert failed(app, "a", strategy="all_or_nothing").failed
    assert receipts(fallback_of(app).spool) == []


def test_what_one_call_took_is_not_lost_with_the_next(
    server: EmbeddedRedis, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis goes away in the middle of a large broadcast: what it has is told from what it has not, and awaited."""
    monkeypatch.setattr("hardening.delivery.posting._CHUNK", 2)
    recipients = [stage.list_key(name) for name in "abcde"]
    with Proxy(server.broker_url) as proxy:
        app = app_for(proxy.url, stage.prefix)
        broadcast("add", [stage.list_key("warm")], app=app)
        proxy.cut_when(recipients[2].encode(), after_reply=False)
        result = broadcast("add", recipients, app=app, retries=0, on_error="log")
        assert [one.status for one in result] == ["confirmed"] * 2 + ["unsent"] * 3
        proxy.cut_when(recipients[2].encode(), after_reply=False)
        again = broadcast("add", recipients, app=app)
        assert again.ok
    assert {name: len(ids) for name, ids in stage.state().queued.items()} == {
        "warm": 1, "a": 2, "b": 2, "c": 1, "d": 1, "e": 1
    }  # fmt: skip


def test_a_redis_that_hangs_keeps_nobody_longer_than_was_asked(own_server: EmbeddedRedis, prefix: str) -> None:
    """And what it does when it wakes agrees with what was told: nothing was published after a refusal."""
    app = app_for(own_server.broker_url, prefix)
    broadcast("add", [f"{prefix}.warm"], app=app)
    began_s = boot_clock_s()
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        result = failed(app, f"{prefix}.a", strategy="all_or_nothing", timeout=0.5)
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    assert 0.4 < boot_clock_s() - began_s < 2
    assert result.outcomes[0].is_uncertain
    with own_server.client() as client:
        assert set(Stage(client, prefix).state().queued) == {"warm"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_with_task_always_eager_the_task_runs_here(strategy: Any) -> None:
    """Once for each recipient, without Redis; it tells how each ended."""
    app = Celery("app", broker=AWAY, set_as_current=False)
    app.conf.update(task_always_eager=True)
    harden(app)
    ran: list[int] = []

    @app.task(name="add", shared=False)
    def add(x: int) -> None:
        ran.append(x)
        if len(ran) % 2:
            raise ValueError("no luck")

    result = broadcast(add, ["a", "b"], (1,), strategy=strategy, confirm="acked", on_error="ignore")
    assert ran == [1, 1]
    assert [(one.status, one.state) for one in result] == [("dead", "dead"), ("confirmed", "acked")]
    assert isinstance(result["a"].error, MessageDied)
    assert result.ok == (strategy == "at_least_one")
    assert not isinstance(result["a"].error, BroadcastRefused)
