"""Trying again what failed behind a boundary, when that may help, and not too often."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tenacity import AsyncRetrying, Retrying, retry_if_exception, stop_after_attempt, stop_before_delay

from hardening.boundaries.budget import RetryBudget, process_budget
from hardening.boundaries.errors import BoundaryError
from hardening.boundaries.events import BoundaryRetried, RetryRefused
from hardening.core import telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tenacity import RetryCallState

__all__ = ["RetryStrategy"]

F = TypeVar("F", bound="Callable[..., Any]")
_chance = random.SystemRandom()


@dataclass(frozen=True, kw_only=True)
class RetryStrategy:
    """Retries what failed in a way that may be over in a moment (``BoundaryError.retryable``), and nothing else.

    As a decorator, of functions and coroutine functions; the boundary is inside::

        @RetryStrategy(attempts=3)
        @network_boundary
        def fetch(url): ...

    The pause before retry n is anything up to ``base_s * 2 ** (n - 1)``, at most ``cap_s``: exponential backoff with
    full jitter, after Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). What the other side
    asks for in ``Retry-After`` is waited for, up to ``retry_after_cap_s``.

    Guarantees: no more attempts than ``attempts``; none begins later than ``total_s`` after the first; no more retries
    in the process than its budget allows.
    Does not guarantee: that an attempt itself ends in time. Give it a timeout of its own.

    Args:
        attempts: how often to try, the first time among them.
        base_s: the longest pause before the first retry, in seconds.
        cap_s: the longest pause, in seconds.
        total_s: how long to go on, in seconds.
        retry_after_cap_s: the longest that the other side may ask for, in seconds.
        budget: default: that of the process, 10 % of all calls.
        sleep: how to wait; coroutines wait by ``asyncio.sleep``.

    Raises:
        ValueError: one of them makes no sense.
        BoundaryError: the last attempt's, from what is called.

    Events: ``hardening.boundary.retried``, ``hardening.retry.refused``.
    """

    attempts: int = 4
    base_s: float = 0.2
    cap_s: float = 10.0
    total_s: float = 60.0
    retry_after_cap_s: float = 60.0
    budget: RetryBudget = field(default_factory=process_budget)
    sleep: Callable[[float], None] = time.sleep  # noqa: TID251 - the strategy is the wait; total_s bounds it

    def __post_init__(self) -> None:
        """Checks them."""
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts!r}, expected 1 or more")
        for name in ("base_s", "cap_s", "total_s", "retry_after_cap_s"):
            if not 0 <= (value := getattr(self, name)) < float("inf"):
                raise ValueError(f"{name} is {value!r}, expected 0 seconds or more")

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls a function, again if need be; in this thread."""
        self.budget.deposit()
        return Retrying(sleep=self.sleep, **self._policy())(function, *args, **kwargs)

    async def acall(self, function: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Calls a coroutine function, again if need be."""
        self.budget.deposit()
        return await AsyncRetrying(sleep=asyncio.sleep, **self._policy())(function, *args, **kwargs)

    def __call__(self, function: F) -> F:
        """Has a function, or a coroutine function, be called so."""
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def retried_async(*args: Any, **kwargs: Any) -> Any:
                return await self.acall(function, *args, **kwargs)

            return cast("F", retried_async)

        @wraps(function)
        def retried(*args: Any, **kwargs: Any) -> Any:
            return self.call(function, *args, **kwargs)

        return cast("F", retried)

    def pause_s(self, retry: int, error: BoundaryError) -> float:
        """How long to wait before a retry, in seconds.

        Args:
            retry: the first is 1.
            error: what the last attempt raised.
        """
        pause_s = _chance.uniform(0, min(self.cap_s, self.base_s * 2.0 ** min(retry - 1, 64)))
        return max(pause_s, min(error.retry_after_s or 0.0, self.retry_after_cap_s))

    def allows(self, error: BoundaryError) -> bool:
        """Whether one more retry may be made of what failed; if so, it counts as made."""
        if not error.retryable:
            return False
        if self.budget.withdraw():
            return True
        telemetry.emit(RetryRefused(category=error.category, error=str(error)))
        return False

    def _policy(self) -> dict[str, Any]:
        stop = stop_after_attempt(self.attempts) | stop_before_delay(self.total_s)

        def wait(state: RetryCallState) -> float:
            return self.pause_s(state.attempt_number, _error(state))

        def may_stop(state: RetryCallState) -> bool:
            return stop(state) or not self.allows(_error(state))  # a retry that would not be made is not withdrawn

        def tell(state: RetryCallState) -> None:
            error = _error(state)
            telemetry.emit(
                BoundaryRetried(
                    category=error.category,
                    attempt=state.attempt_number,
                    pause_s=state.upcoming_sleep,
                    error=str(error),
                )
            )

        return {
            "retry": retry_if_exception(lambda error: isinstance(error, BoundaryError) and error.retryable),
            "stop": may_stop,
            "wait": wait,
            "before_sleep": tell,
            "reraise": True,
        }


def _error(state: RetryCallState) -> BoundaryError:
    outcome: Any = state.outcome
    error: BoundaryError = outcome.exception()
    return error
