"""Who follows what is set for all: how often Redis is read, and what is told when it is away."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening import harden
from hardening.core import telemetry
from hardening.core.scripts.timeouts import SetForAll
from hardening.timeouts import follower as room
from hardening.timeouts.clock import clock_of
from hardening.timeouts.follower import Follower

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Redis:
    """What is set in it, who asks, and whether it is away."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.rules = {"default": "7"}
        self.reads = 0
        self.waited_for: list[str] = []
        self.has_changed = False
        self.is_away = False

    def boot_clock_s(self) -> float:
        return self.now_s

    def run(self, _client: object) -> SetForAll:
        self.reads += 1
        if self.is_away:
            raise RedisConnectionError("away")
        return SetForAll(5_000_000, f"{self.reads}-0", dict(self.rules))

    def xread(self, streams: dict[str, str], **_: object) -> list[int]:
        self.waited_for += streams.values()
        return [1] if self.has_changed else []


class _Table:
    def __init__(self) -> None:
        self.rules: dict[str, Any] = {}

    def set_for_all(self, rules: dict[str, Any]) -> bool:
        self.rules = rules
        return True


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> _Redis:
    """The one that is followed."""
    redis = _Redis()
    monkeypatch.setattr(room, "client_of", lambda _: redis)
    monkeypatch.setattr(room, "boot_clock_s", redis.boot_clock_s)
    monkeypatch.setattr(room, "read_timeouts", lambda _: redis)
    monkeypatch.setattr(SetForAll, "parse", staticmethod(lambda found: found))
    return redis


@pytest.fixture
def app() -> Iterator[Celery]:
    """Whose timeouts are followed."""
    app = harden(Celery("follower", broker="redis://127.0.0.1:1/0", set_as_current=False))
    yield app
    app.close()


@pytest.fixture
def follower(app: Celery) -> Follower:
    """One that no thread runs."""
    return Follower(app, _Table())  # type: ignore[arg-type]


def test_all_is_read_four_times_a_minute_and_after_each_change(redis: _Redis, follower: Follower) -> None:
    """In between there is but the wait for a change after the last that was read; the clock is learned each time."""
    app: Any = follower._app()
    follower.run_once()
    assert redis.waited_for == []
    clock_of(app)._offset_s = None
    for _ in range(3):
        redis.now_s += 4.0
        follower.run_once(1.0)
    assert (redis.reads, redis.waited_for) == (1, ["1-0"] * 3)
    assert clock_of(app)._offset_s is None
    redis.now_s += 4.0
    follower.run_once(1.0)
    assert (redis.reads, redis.waited_for[3:]) == (2, ["2-0"])
    assert clock_of(app)._offset_s is not None
    redis.has_changed = True
    follower.run_once(1.0)
    assert redis.reads == 2
    follower.run_once(1.0)
    assert redis.reads == 3


def test_an_outage_is_told_once_and_all_is_read_after_it(
    redis: _Redis, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the last reading is not old; the next outage is told again."""
    script = iter([False, True, True, False, True, None])

    class Stopped(threading.Event):
        def is_set(self) -> bool:
            away = next(script)
            redis.is_away, redis.has_changed = bool(away), away is not None
            return away is None

    monkeypatch.setattr(room, "_AGAIN_S", 0.0)
    with telemetry.capture("hardening.timeouts") as events:
        follower._run(Stopped())
    assert redis.reads == 5
    assert [event.name.rpartition(".")[2] for event in events] == ["changed", "not_read", "changed", "not_read"]


def test_it_reads_at_once_after_an_outage_of_its_wait(
    redis: _Redis, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changed meanwhile nobody told."""
    stopped, cuts = threading.Event(), iter([False, True])

    def cut(*_: object, **__: object) -> None:
        if next(cuts):
            stopped.set()
        raise RedisConnectionError("cut off")

    monkeypatch.setattr(redis, "xread", cut)
    monkeypatch.setattr(room, "_AGAIN_S", 0.0)
    thread = threading.Thread(target=follower._run, args=(stopped,), daemon=True)
    thread.start()
    thread.join(10)
    assert (thread.is_alive(), redis.reads) == (False, 2)


def test_it_is_started_once(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked to; and once more after it was stopped."""
    runs: list[threading.Event] = []
    monkeypatch.setattr(follower, "_run", runs.append)
    for _ in range(3):
        follower.start()
    assert len(runs) == 1
    follower.stop()
    assert runs[0].is_set()
    follower.start()
    assert len(runs) == 2
    assert not runs[1].is_set()


def test_it_ends_with_its_app(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which it does not keep alive."""
    monkeypatch.setattr(follower, "_app", lambda: None)
    follower.run_once()
    assert follower._stopped.is_set()
