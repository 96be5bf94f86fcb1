"""Calls that Redis still has to run: in order, each once, and told when they were."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.core.membership import boot_clock_s
from hardening.transport.owed import Owed, insist


class _Redis:
    """Counts what it ran; may be away."""

    def __init__(self) -> None:
        self.is_away = False
        self.ran: list[str] = []


class _Call:
    """A call by name; its reply is how many were run with it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, client: _Redis) -> int:
        """Runs it, unless Redis is away."""
        if client.is_away:
            raise RedisConnectionError("away")
        client.ran.append(self.name)
        return len(client.ran)


def _owed() -> tuple[Any, _Redis, list[int]]:
    redis: Any = _Redis()
    return Owed(redis, threading.RLock()), redis, []


def test_a_call_is_run_at_once_while_redis_is_there() -> None:
    """Nothing is owed."""
    owed, redis, told = _owed()
    assert owed.run(_Call("a"), told.append) == 1
    assert (redis.ran, told, len(owed)) == (["a"], [1], 0)


def test_what_failed_is_owed_and_told_when_it_was_run() -> None:
    """Not before, and not twice."""
    owed, redis, told = _owed()
    redis.is_away = True
    assert [owed.run(_Call(name), told.append) for name in "ab"] == [None, None]
    owed.append(_Call("c"))
    with pytest.raises(RedisConnectionError):
        owed.settle()
    assert (redis.ran, told, len(owed)) == ([], [], 3)
    redis.is_away = False
    owed.settle()
    owed.settle()
    assert (redis.ran, told, len(owed)) == (["a", "b", "c"], [1, 2], 0)


def test_insisting_ends_with_the_first_success() -> None:
    """It tells that there was one."""
    attempts: list[int] = []

    def attempt() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise RedisConnectionError("away")

    assert insist(attempt, for_s=5.0)
    assert len(attempts) == 3


@pytest.mark.parametrize("error", [RedisConnectionError("away"), OSError("no route")])
def test_insisting_ends_in_time_without_a_success(error: Exception) -> None:
    """Also where every attempt is slow: the last one does not begin so late that it would end too late."""
    attempts: list[float] = []

    def attempt() -> None:
        attempts.append(boot_clock_s())
        threading.Event().wait(0.2)
        raise error

    begin_s = boot_clock_s()
    assert not insist(attempt, for_s=0.7)
    assert boot_clock_s() - begin_s < 0.75
    assert len(attempts) == 2


def test_insisting_tries_once_even_without_time() -> None:
    """And what is no want of Redis is raised at once."""
    assert insist(lambda: None, for_s=0.0)
    with pytest.raises(ZeroDivisionError):
        insist(lambda: 1 // 0, for_s=5.0)
