"""The time at Redis, as one process learns it."""

from __future__ import annotations

from typing import Any

import pytest

from hardening.timeouts import clock as room
from hardening.timeouts.clock import RedisClock


class _Redis:
    """Answers after two seconds, or not at all."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.asked: list[float | None] = []
        self.is_away = False

    def boot_clock_s(self) -> float:
        return self.now_s

    def client_of(self, _app: object, *, patience_s: float | None = None) -> Any:
        self.asked.append(patience_s)
        return self

    def time(self) -> tuple[int, int]:
        if self.is_away:
            raise OSError("away")
        self.now_s += 2.0
        return 5000, 500_000


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> _Redis:
    """The only clock there is."""
    redis = _Redis()
    monkeypatch.setattr(room, "client_of", redis.client_of)
    monkeypatch.setattr(room, "boot_clock_s", redis.boot_clock_s)
    return redis


def test_an_answer_was_true_half_way(redis: _Redis) -> None:
    """Between the question and the answer, neither of which is known to be quicker; then nobody asks again."""
    clock = RedisClock(None)  # type: ignore[arg-type]
    clock.prepare()
    assert clock.now_ms() == 5_001_500
    redis.now_s += 60.0
    clock.prepare()
    assert clock.now_ms() == 5_061_500
    assert redis.asked == [0.5]


def test_one_that_is_away_is_asked_once_a_second(redis: _Redis) -> None:
    """For half a second each time."""
    clock = RedisClock(None)  # type: ignore[arg-type]
    redis.is_away = True
    for _ in range(30):
        clock.prepare()
        redis.now_s += 0.1
    assert redis.asked == [0.5] * 3
