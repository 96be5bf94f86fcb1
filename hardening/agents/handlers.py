"""Handlers: what an agent can be told and asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, overload

from hardening.agents.errors import HandlerUnknown

__all__ = ["Handler", "handler_for", "handlers_of", "handles"]

F = TypeVar("F", bound=Callable[..., Any])

_NAME = "_hardening_handles"
_LONGEST = 200


class Handler(NamedTuple):
    """One handler of an agent.

    Attributes:
        name: under which it is told.
        attribute: the method.
        signature: of the method, without ``self``.
    """

    name: str
    attribute: str
    signature: inspect.Signature


@overload
def handles(name: F) -> F: ...
@overload
def handles(name: str) -> Callable[[F], F]: ...
def handles(name: Any) -> Any:
    """Makes a method of an agent a handler, under a name: ``@handles("reserve")``; bare: under its own.

    Arguments and what is returned travel as JSON.

    Raises:
        ValueError: it is no name.
    """
    if callable(name):
        setattr(name, _NAME, name.__name__)
        return name
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= _LONGEST:
        raise ValueError(f"a handler is named {name!r}, expected 1 to {_LONGEST} printable characters")

    def mark(method: F) -> F:
        setattr(method, _NAME, name)
        return method

    return mark


def handlers_of(cls: type) -> dict[str, Handler]:
    """The handlers of a class, by name, with those it inherits.

    Raises:
        ValueError: two have the same name; or one is a coroutine function, which no worker would await.
    """
    found: dict[str, Handler] = {}
    for attribute in dir(cls):
        method = inspect.getattr_static(cls, attribute, None)
        name = getattr(method, _NAME, None)
        if not isinstance(name, str) or not inspect.isfunction(method):
            continue
        if name in found:
            raise ValueError(f"{cls.__qualname__} handles {name!r} in {found[name].attribute} and in {attribute}")
        if inspect.iscoroutinefunction(method):
            raise ValueError(f"{cls.__qualname__}.{attribute} is a coroutine function, expected a plain one")
        _, *rest = inspect.signature(method).parameters.values()
        found[name] = Handler(name, attribute, inspect.Signature(rest))
    return found


def handler_for(cls: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handler:
    """The handler of an agent's class for a message.

    Raises:
        HandlerUnknown: there is none, or it does not take these arguments.
    """
    handler: Handler | None = cls.handlers.get(name)
    if handler is None:
        known = ", ".join(sorted(cls.handlers)) or "none"
        raise HandlerUnknown(cls.name, name, f"there is no such handler; known: {known}")
    try:
        handler.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise HandlerUnknown(cls.name, name, f"{error}; it takes {handler.signature}") from None
    return handler
