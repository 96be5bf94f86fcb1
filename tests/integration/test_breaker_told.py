"""Whoever is told of a breaker may use it, and what goes wrong in one process's thread ends nothing."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from hardening import Breaker, CircuitOpen, harden
from hardening.breaker.circuits import circuits_of
from hardening.core.scripts.breaking import Seen
from hardening.core.telemetry import attach, capture, detach
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from hardening.core.keys import Keys

QUICK: dict[str, Any] = {"minimum_calls": 2, "window_s": 10, "open_s": 60, "probes": 2}


@pytest.fixture
def breaker(app: Celery, prefix: str) -> Breaker:
    """A breaker that is quick to open, and that no other test has."""
    return Breaker(f"b.{prefix}", app=app, **QUICK)


@contextmanager
def _hooked(hook: Callable[[str], None]) -> Iterator[list[str]]:
    """Has something done with each event of breakers, in its own thread; yields what was told and done with."""
    told: list[str] = []

    def hear(event: Any) -> None:
        name = event.name.removeprefix("hardening.circuit.")
        hook(name)
        told.append(name)

    subscription = attach("hardening.circuit", hear)
    yield told
    detach(subscription)


def _call(breaker: Breaker, *, fails: bool = False) -> bool:
    """Whether a call was let through."""
    try:
        with suppress(ConnectionError), breaker:
            if fails:
                raise ConnectionError
    except CircuitOpen:
        return False
    return True


def _in_a_thread(run: Callable[[], Any]) -> None:
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("through", [lambda run: run(), _in_a_thread], ids=["itself", "another thread"])
def test_whoever_is_told_of_a_change_may_use_the_breaker(
    breaker: Breaker, through: Callable[[Callable[[], Any]], None]
) -> None:
    """As an operator's hook does that closes it again: no lock is held while it is told."""

    def close_again(name: str) -> None:
        if name == "opened":
            through(lambda: breaker.reset(why="by a hook"))
            assert breaker.state == "closed"
            through(lambda: _call(breaker))

    with _hooked(close_again) as told:
        _in_a_thread(lambda: eventually(lambda: told or not _call(breaker, fails=True)))
        eventually(lambda: "opened" in told)
    assert told[:2] == ["forced", "opened"]  # the one while the other was told


def test_whoever_is_told_that_redis_is_away_may_use_the_breaker(prefix: str) -> None:
    """On its own, as all do then."""
    app = harden(Celery(prefix, broker="redis://127.0.0.1:1/0", set_as_current=False))
    breaker = Breaker(prefix, app=app, **QUICK)
    let_through: list[bool] = []

    def use(name: str) -> None:
        if name == "isolated":
            with suppress(Exception):
                breaker.reset()
            _in_a_thread(lambda: let_through.append(_call(breaker)))

    with _hooked(use) as told:
        _in_a_thread(lambda: _call(breaker))
        eventually(lambda: told == ["isolated"])
    assert let_through == [True]


def test_an_answer_that_cannot_be_read_does_not_end_the_thread(
    app: Celery, breaker: Breaker, client: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is counted afterwards is reported."""
    assert _call(breaker)
    eventually(lambda: client.exists(keys.breaker(breaker.name)))
    parse, spoiled = Seen.parse, threading.Event()

    def spoil(reply: Any) -> Seen:
        if threading.current_thread().name == "hardening-breakers" and not spoiled.is_set():
            spoiled.set()
            raise ValueError("nonsense")
        return parse(reply)

    monkeypatch.setattr(Seen, "parse", spoil)
    with capture("hardening.chore.failed") as events:
        _call(breaker)
        assert spoiled.wait(10)
        eventually(lambda: events)
    thread: Any = circuits_of(app)._thread
    assert thread.is_alive()
    _call(breaker, fails=True)
    _call(breaker, fails=True)
    eventually(lambda: breaker.state == "open")


def test_where_no_thread_can_be_started_the_next_call_tries_again(
    app: Celery, breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its own goes on."""
    start, failed = threading.Thread.start, threading.Event()

    def fail_once(thread: threading.Thread) -> None:
        if thread.name == "hardening-breakers" and not failed.is_set():
            failed.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_once)
    assert _call(breaker)
    assert failed.is_set()
    assert circuits_of(app)._thread is None
    assert _call(breaker)
    assert circuits_of(app)._thread is not None
