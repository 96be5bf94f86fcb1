"""Doing without what is behind a boundary, and saying so."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import redis

from hardening.boundaries import BoundaryError, network_boundary, protect, redis_boundary
from hardening.core import telemetry

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_fallback_takes_the_place_of_what_is_expected_and_it_is_told() -> None:
    """As a value, as a function of the error, for functions and for coroutines."""

    @protect(network_boundary, fallback=[])
    def value(error: Exception | None = None) -> list[int]:
        if error:
            raise error
        return [1]

    @protect(fallback=lambda error: error.category)
    async def called(error: Exception) -> str:
        raise error

    async def instead(error: BoundaryError) -> str:
        return f"no {error.category}"

    @protect(fallback=instead)
    async def awaited(error: Exception | None = None) -> str:
        if error:
            raise error
        return "yes"

    with telemetry.capture("hardening.boundary") as events:
        assert value() == [1]
        assert asyncio.run(awaited()) == "yes"
        assert events == []
        assert value(TimeoutError("slow")) == []
        assert asyncio.run(called(redis.ConnectionError())) == "redis"
        assert asyncio.run(awaited(json.JSONDecodeError("", "", 0))) == "no json"
    assert vars_of(events[0]) == ("network", True, "network: TimeoutError: slow")
    assert len(events) == 3


def vars_of(event: Any) -> tuple[Any, ...]:
    """What an event of a fallback says."""
    return event.category, event.retryable, event.error


def test_a_fallback_is_for_what_was_named() -> None:
    """Of other kinds, and what is not expected of any, crashes."""
    for error in (redis.ConnectionError(), ValueError()):
        with pytest.raises(type(error)):
            protect(network_boundary, fallback=1)(_raiser(error))()
        with pytest.raises(type(error)), protect(network_boundary, fallback=1):
            raise error

    async def fails() -> None:
        raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        asyncio.run(protect(fallback=1)(fails)())


def _raiser(error: Exception) -> Callable[[], None]:
    def fails() -> None:
        raise error

    return fails


def test_a_boundary_error_from_inside_counts_by_its_category() -> None:
    """The boundary may be further in."""
    inside = network_boundary(_raiser(TimeoutError()))
    assert protect(network_boundary, fallback="x")(inside)() == "x"
    with pytest.raises(BoundaryError):
        protect(redis_boundary, fallback="x")(inside)()


def test_a_protected_block_has_an_outcome() -> None:
    """What it put there, or the fallback and why."""
    with protect(fallback=0) as outcome:
        outcome.value = 5
    assert (outcome.value, outcome.error) == (5, None)
    with protect(fallback=0) as outcome:
        outcome.value = 5
        raise TimeoutError
    assert outcome.value == 0
    assert isinstance(outcome.error, BoundaryError)

    async def block() -> Any:
        async def instead(_error: BoundaryError) -> int:
            return 7

        async with protect(fallback=instead) as outcome:
            raise TimeoutError
        return outcome.value

    assert asyncio.run(block()) == 7
