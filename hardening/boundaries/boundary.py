"""Boundaries: where errors of others become errors of one kind, and those of our own go on."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from hardening.boundaries.errors import BoundaryError
from hardening.boundaries.kinds import expected_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Boundary", "boundary_named", "database_boundary", "json_boundary", "network_boundary", "redis_boundary"]

F = TypeVar("F", bound="Callable[..., Any]")


class Boundary:
    """A boundary of one kind: a context manager and a decorator, for functions and coroutines alike.

    It catches what is to be expected of its kind, see :mod:`hardening.boundaries.kinds`, and raises
    :class:`BoundaryError` in its place. Everything else crashes, as it should. It has no state: one serves all threads,
    and blocks nest.

    Args:
        category: ``network``, ``database``, ``json`` or ``redis``.
    """

    def __init__(self, category: str) -> None:
        self.category = category

    def __repr__(self) -> str:
        return f"{self.category}_boundary"

    def failure(self, error: BaseException) -> BoundaryError | None:
        """What an error becomes here; None: it was not to be expected."""
        expected = expected_of(self.category, error)
        if expected is None:
            return None
        retryable, retry_after_s = expected
        return BoundaryError(self.category, error, retryable=retryable, retry_after_s=retry_after_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if error is not None and (failed := self.failure(error)) is not None:
            raise failed from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        """Has a function, or a coroutine function, run inside."""
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def bounded_async(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return cast("F", bounded_async)

        @wraps(function)
        def bounded(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return cast("F", bounded)


network_boundary = Boundary("network")
database_boundary = Boundary("database")
json_boundary = Boundary("json")
redis_boundary = Boundary("redis")

_NAMED = {one.category: one for one in (network_boundary, database_boundary, json_boundary, redis_boundary)}


def boundary_named(name: str) -> Boundary | None:
    """The boundary of a category, if there is one."""
    return _NAMED.get(name)
