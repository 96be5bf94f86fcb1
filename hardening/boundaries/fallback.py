"""Doing without what is behind a boundary."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hardening.boundaries.boundary import (
    Boundary,
    database_boundary,
    json_boundary,
    network_boundary,
    redis_boundary,
)
from hardening.boundaries.errors import BoundaryError
from hardening.boundaries.events import BoundaryFellBack
from hardening.core import telemetry

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Outcome", "protect"]

F = TypeVar("F", bound="Callable[..., Any]")
_ALL = (network_boundary, database_boundary, json_boundary, redis_boundary)


class Outcome:
    """What came of a protected block.

    Attributes:
        value: what the block put here, or the fallback.
        error: what was expected to happen and did; None: it went well.
    """

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BoundaryError | None = None


class protect:  # noqa: N801 - reads as a word: @protect(fallback=...)
    """Gives a fallback in place of what is behind a boundary, when that fails in a way that is to be expected.

    As a decorator, of functions and coroutine functions::

        @protect(network_boundary, fallback=[])
        def recommendations(user): ...

    and as a context manager, with ``with`` or ``async with``::

        with protect(redis_boundary, fallback=0) as outcome:
            outcome.value = client.get("hits")

    Each time is told, for nobody notices otherwise. Everything else crashes. Any thread may use one instance as a
    decorator; a block wants an instance of its own.

    Args:
        *boundaries: which errors are expected; default: those of all kinds. A ``BoundaryError`` that comes from inside
            counts if its category is among them.
        fallback: the value, or a function that is called with the ``BoundaryError``, which for coroutines may be one.

    Events: ``hardening.boundary.fell_back``.
    """

    def __init__(self, *boundaries: Boundary, fallback: Any) -> None:
        self._boundaries = boundaries or _ALL
        self._fallback = fallback
        self._outcome = Outcome()

    def __enter__(self) -> Outcome:
        self._outcome = Outcome()
        return self._outcome

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        failed = self._failure(error)
        if failed is not None:
            self._outcome.error = failed
            self._outcome.value = self._value(failed)
        return failed is not None

    async def __aenter__(self) -> Outcome:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        fell_back = self.__exit__(kind, error, traceback)
        if fell_back and inspect.isawaitable(self._outcome.value):
            self._outcome.value = await self._outcome.value
        return fell_back

    def __call__(self, function: F) -> F:
        """Has a function, or a coroutine function, return the fallback."""
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def protected_async(*args: Any, **kwargs: Any) -> Any:
                try:
                    return await function(*args, **kwargs)
                except Exception as error:
                    if (failed := self._failure(error)) is None:
                        raise
                value = self._value(failed)
                return await value if inspect.isawaitable(value) else value

            return cast("F", protected_async)

        @wraps(function)
        def protected(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                if (failed := self._failure(error)) is None:
                    raise
            return self._value(failed)

        return cast("F", protected)

    def _failure(self, error: BaseException | None) -> BoundaryError | None:
        if isinstance(error, BoundaryError):
            return error if any(one.category == error.category for one in self._boundaries) else None
        if error is None:
            return None
        failures = (one.failure(error) for one in self._boundaries)
        return next((failed for failed in failures if failed is not None), None)

    def _value(self, failed: BoundaryError) -> Any:
        telemetry.emit(BoundaryFellBack(category=failed.category, retryable=failed.retryable, error=str(failed)))
        return self._fallback(failed) if callable(self._fallback) else self._fallback
