"""Timeouts that are set for all processes, deadlines, and calls that give up."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from hardening import harden
from hardening.core import telemetry
from hardening.core.deployment import client_of
from hardening.core.errors import ConfigError, MessageDied
from hardening.core.keys import Keys
from hardening.core.membership import boot_clock_s
from hardening.delivery import supervised_send
from hardening.timeouts import (
    CallTimeout,
    call_with_timeout,
    deadline,
    remaining,
    set_timeout,
    timeout_for,
    unset_timeout,
)
from hardening.timeouts.clock import RedisClock, clock_of
from hardening.timeouts.follower import Follower
from hardening.timeouts.lookup import timeouts_of
from tests.eventually import eventually
from tests.forked import forked
from tests.unit.making import make

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis


@pytest.fixture
def task(app: Celery) -> Any:
    """A task whose results are kept, that nobody runs."""
    app.conf.update(result_backend=app.conf.broker_url, result_expires=None)  # redis-py warns of what Celery would call

    @app.task(name="shop.add", shared=False)
    def add(left: int, right: int) -> int:
        return left + right

    return add


def _messages(app: Celery, queue: str) -> list[dict[str, Any]]:
    stored: Any = client_of(app).lrange(queue, 0, -1)
    return [json.loads(raw)["headers"] for raw in stored]


# -- for all


def test_what_is_set_for_all_is_followed_there_and_back(app: Celery) -> None:
    """A change is told once; what was set before this process began is known after its first read."""
    with telemetry.capture("hardening.timeouts") as events:
        assert timeout_for("a.b", app=app) == 5
        set_timeout("a.*", 12, for_all=True, app=app)
        eventually(lambda: timeout_for("a.b", app=app) == 12, 1)
        set_timeout("a.*", "long", for_all=True, app=app)
        eventually(lambda: timeout_for("a.b", app=app) == 30, 1)
        assert timeouts_of(app).table.resolve("a.b").source == "set for all"
        assert unset_timeout("a.*", for_all=True, app=app)
        eventually(lambda: timeout_for("a.b", app=app) == 5, 1)
        assert not unset_timeout("a.*", for_all=True, app=app)
    assert {event.name for event in events} == {"hardening.timeouts.changed"}


def test_what_stands_in_redis_is_not_trusted(app: Celery, client: Redis, keys: Keys) -> None:
    """What makes no sense is ignored, and counted; the rest is in force."""
    client.hset(
        keys.timeouts, mapping={"a": "inf", "b": "9", "x y": "3", "c": "lnog", b"\xff": "1", "long": "critical"}
    )
    with telemetry.capture("hardening.timeouts") as events:
        timeouts_of(app).follower.run_once()
    assert timeouts_of(app).table.for_all == {"b": 9.0}
    (event,) = events
    assert (event.rules, event.ignored) == (1, 5)  # type: ignore[attr-defined]


def test_the_timeouts_of_all_are_one_key_and_one_change(app: Celery, client: Redis, keys: Keys) -> None:
    """However often they change."""
    for seconds in range(1, 9):
        set_timeout("a", seconds, for_all=True, app=app)
    assert client.hgetall(keys.timeouts) == {b"a": b"8"}
    assert client.xlen(keys.timeout_changes) == 1


def test_redis_may_be_full(own_server: EmbeddedRedis) -> None:
    """The setting that may help against it gets there."""
    app = make(own_server.broker_url)
    harden(app)
    with own_server.client() as client:
        client.config_set("maxmemory", "1")  # byte: an idle server of little use so far has less than 1 MB
        set_timeout("a", 9, for_all=True, app=app)
        assert client.hgetall(Keys().timeouts) == {b"a": b"9"}
        assert unset_timeout("a", for_all=True, app=app)


def test_while_redis_is_away_what_was_read_last_is_in_force(own_server: EmbeddedRedis) -> None:
    """It is told once; when Redis is back the follower is, too."""
    app = harden(make(own_server.broker_url, hardening_socket_timeout_s=0.5))
    timeout_for("a", app=app)
    set_timeout("a", 9, for_all=True, app=app)
    eventually(lambda: timeout_for("a", app=app) == 9)
    with telemetry.capture("hardening.timeouts") as events:
        os.kill(own_server.pid, signal.SIGSTOP)
        eventually(lambda: [event.name for event in events] == ["hardening.timeouts.not_read"])
        assert timeout_for("a", app=app) == 9
        os.kill(own_server.pid, signal.SIGCONT)
        set_timeout("a", 10, for_all=True, app=app)
        eventually(lambda: timeout_for("a", app=app) == 10)
    assert [event.name for event in events] == ["hardening.timeouts.not_read", "hardening.timeouts.changed"]


def test_a_forked_child_follows_by_itself(app: Celery) -> None:
    """A thread does not cross a fork; the lock that it may have held does."""
    timeout_for("a", app=app)
    set_timeout("a", 9, for_all=True, app=app)
    eventually(lambda: timeout_for("a", app=app) == 9)

    def follow() -> None:
        timeout_for("a", app=app)
        set_timeout("a", 10, for_all=True, app=app)
        eventually(lambda: timeout_for("a", app=app) == 10, 5)

    with timeouts_of(app).table._mutex:
        assert forked(follow) == 0


def test_a_follower_ends_with_its_app(app: Celery) -> None:
    """It does not keep it alive, and starts but once."""
    follower = Follower(app, timeouts_of(app).table)
    follower.start()
    follower.start()
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("hardening-timeouts") >= 1
    follower.stop()
    follower._app = lambda: None  # type: ignore[assignment]
    follower.run_once()
    assert follower._stopped.is_set()


# -- deadlines


def test_a_deadline_travels_as_a_time_of_redis(app: Celery, task: Any, queue: str, client: Redis) -> None:
    """By whichever way it is sent; without one there is no header."""
    task.delay(1, 2)
    now_ms = int(client.time()[0]) * 1000
    with deadline(30, app=app):
        task.delay(1, 2)
        supervised_send(task, (1, 2))
        assert remaining() == pytest.approx(30, abs=5)
    assert remaining() is None
    found = [headers.get("hardening_deadline_ms") for headers in _messages(app, queue)]
    assert found.count(None) == 1
    assert all(now_ms + 29_000 <= ms <= now_ms + 40_000 for ms in found if ms is not None)


def test_an_inner_deadline_cannot_be_later(app: Celery) -> None:
    """Only earlier; the outer one is back afterwards."""
    with deadline(30, app=app):
        with deadline(60, app=app):
            assert 25 < (remaining() or 0) <= 30
        with deadline(5, app=app):
            assert 1 < (remaining() or 0) <= 5
        assert (remaining() or 0) > 20
    with deadline(0, app=app):
        assert remaining() == 0


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), True, "5", None])
def test_a_deadline_that_is_none_is_refused(app: Celery, seconds: Any) -> None:
    """It says what was expected."""
    with pytest.raises(ValueError, match="expected 0 seconds or more"), deadline(seconds, app=app):
        pass


def test_where_redis_has_never_been_in_reach_the_wall_clock_is_taken() -> None:
    """A sender can spool all the same; it waits for Redis but once a second."""
    clock = RedisClock(harden(make()))
    clock.prepare()
    asked_s = boot_clock_s()
    for _ in range(100):
        clock.prepare()
    assert boot_clock_s() - asked_s < 0.5
    assert clock.now_ms() > 1_600_000_000_000


def test_the_clock_is_that_of_redis(app: Celery, client: Redis) -> None:
    """To a few milliseconds."""
    clock = clock_of(app)
    assert clock is clock_of(app)
    clock.prepare()
    seconds, micros = client.time()
    assert abs(clock.now_ms() - (seconds * 1000 + micros // 1000)) < 500


# -- calls


def test_a_call_that_nobody_takes_gives_up_and_is_cancelled(app: Celery, task: Any, queue: str) -> None:
    """The error says what is known; the message says until when it may be begun."""
    with telemetry.capture("hardening.call") as events, pytest.raises(CallTimeout) as raised:
        call_with_timeout(task, (1, 2), operation="shop.sum", timeout=0.3)
    error = raised.value
    assert (error.operation, error.state, error.is_cancelled) == ("shop.sum", "queued", True)
    assert error.timeout_s == pytest.approx(0.3, abs=0.05)
    assert [one.state.value for one in error.history] == ["queued"]
    assert isinstance(error, TimeoutError)
    assert _messages(app, queue) == []
    (event,) = events
    assert (event.operation, event.receipt) == ("shop.sum", error.receipt_id)  # type: ignore[attr-defined]


def test_a_call_takes_its_time_from_the_table_and_from_what_is_left(app: Celery, task: Any) -> None:
    """By the operation, else by the task's name."""
    set_timeout("shop.*", 0.2, app=app)
    set_timeout("quick", 0.1, app=app)
    for options, timeout_s in (({}, 0.2), ({"operation": "quick"}, 0.1), ({"timeout": 0.15}, 0.15)):
        with pytest.raises(CallTimeout) as raised:
            call_with_timeout(task, (1, 2), **options)
        assert raised.value.timeout_s == pytest.approx(timeout_s, abs=0.03)
    with deadline(0.05, app=app), pytest.raises(CallTimeout) as raised:
        call_with_timeout(task, (1, 2))
    assert raised.value.timeout_s <= 0.05
    with deadline(0, app=app), pytest.raises(CallTimeout, match="was not called: no time is left") as raised:
        call_with_timeout(task, (1, 2))
    assert raised.value.receipt_id == ""


def _answer(app: Celery, queue: str, answer: Any, state: str = "SUCCESS") -> threading.Thread:
    """Gives the next message its result, as a worker would."""

    def run() -> None:
        (headers,) = eventually(lambda: _messages(app, queue))
        app.backend.store_result(headers["id"], answer, state)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_call_returns_what_the_task_returns(app: Celery, task: Any, queue: str) -> None:
    """Under whatever id."""
    worker = _answer(app, queue, 3)
    assert call_with_timeout(task, (1, 2), timeout=10, task_id="my-own-id") == 3
    worker.join()


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (ValueError("no luck"), ValueError),
        (MessageDied("r", "expired"), CallTimeout),
        (MessageDied("r", "rejected"), MessageDied),
    ],
)
def test_a_call_raises_what_becomes_of_the_message(
    task: Any, monkeypatch: pytest.MonkeyPatch, raised: Exception, seen: type[Exception]
) -> None:
    """What was buried for its deadline is a timeout."""

    def result(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("hardening.delivery.receipt.Receipt.result", result)
    with pytest.raises(seen):
        call_with_timeout(task, (1, 2), timeout=10)


def test_a_call_needs_a_result_backend(app: Celery) -> None:
    """Said before anything is sent."""
    with pytest.raises(ConfigError, match="has no result_backend"):
        call_with_timeout("shop.add", (1, 2), app=app)


def test_a_call_of_an_eager_app_runs_here(app: Celery, task: Any) -> None:
    """With its result, without Redis."""
    app.conf.task_always_eager = True
    assert call_with_timeout(task, (1, 2)) == 3
    assert call_with_timeout(task.s(1), (2,)) == 3


def test_a_call_whose_redis_goes_away_says_what_it_does_not_know(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where the message is, nor whether it will run."""

    def gone(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr("hardening.delivery.receipt.Receipt.cancel", gone)
    monkeypatch.setattr("hardening.delivery.receipt.Receipt.status", gone)
    with pytest.raises(CallTimeout, match="it was unknown; it could not be cancelled"):
        call_with_timeout(task, (1, 2), timeout=0.1)
