"""A breaker that all workers share: what users import.

    closed ── its rule: too many calls of the window failed, or were slow ──► open ── open_s is over ──► half open
       ▲                                                                      ▲                             │
       │                                                                      └──── a probe failed ─────────┤
       └──────────────────────────── as many probes as it has succeeded ────────────────────────────────────┘

The pattern is that of Michael Nygard's "Release It!" (2007); a rate over a sliding window with a minimum of calls, and
slow calls that count, are those of resilience4j, the window in ten parts is that of Netflix's Hystrix, and the
generations are those of sony/gobreaker. Not to be confused with :mod:`hardening.delivery.breaker`, which spares senders
the wait for a Redis that is away.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from contextvars import ContextVar
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast

from hardening.breaker.apps import app_for
from hardening.breaker.circuits import circuits_of
from hardening.breaker.declared import declare
from hardening.breaker.verdict import Verdict, judge
from hardening.core.deployment import client_of
from hardening.core.scripts import breaking

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Literal

    from celery import Celery

    from hardening.breaker.circuit import Circuit
    from hardening.core.scripts.breaking import Seen

__all__ = ["Breaker"]

P = ParamSpec("P")
R = TypeVar("R")

#: How long a change by hand may take, in seconds: calls that would ask Redis wait for it.
_PATIENCE_S = 1.0
_SUCCEEDED = Verdict.SUCCEEDED
#: The calls of this thread, or coroutine, that have begun and not ended, the last first: its circuit, its passage, and
#: the calls around it.
_begun: ContextVar[Any] = ContextVar("hardening_breaker_begun", default=None)


class Breaker:
    """A breaker by name, shared through Redis by all processes of an app.

    As a context manager, as an asynchronous one, and as a decorator of functions and coroutines::

        stripe = Breaker("stripe", failure_rate=0.5, minimum_calls=20, window_s=10, open_s=30, probes=3)

        with stripe:
            stripe_api.charge(...)

    Any thread of any process may use it, also a child that was forked. While Redis is away, each process goes by what
    it sees alone.

    Args:
        name: up to 64 letters, digits, ``_``, ``.`` or ``-``.
        app: a hardened app, whose breaker it is then and no other's; default: the current one, or the only one that
            there is.
        rule: ``failure_rate`` (0.5), ``minimum_calls`` (20), ``window_s`` (10), ``open_s`` (30), ``probes`` (3),
            ``slow_call_s`` (None), ``slow_rate`` (None) and ``counts`` (None), as in
            :class:`hardening.core.breaker_rules.BreakerRule`. The setting ``hardening_breakers`` wins over it.

    Raises:
        ConfigError: with every fault of the rule; or the name is declared already, with another rule.
    """

    def __init__(self, name: str, *, app: Celery | None = None, **rule: Any) -> None:
        declare(name, rule, app)
        self.name = name
        self._app = app
        self._found: Circuit | None = None

    def __repr__(self) -> str:
        return f"Breaker({self.name!r})"

    # -- calls

    def __enter__(self) -> Self:
        """Begins a call.

        Raises:
            CircuitOpen: the breaker is open, or half open and probed by others.
        """
        circuit = self._found or self._circuit
        _begun.set((circuit, circuit.enter(), _begun.get()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        circuit, passage, before = _begun.get()
        _begun.set(before)
        circuit.leave(passage, _SUCCEEDED if error is None else judge(error, circuit.rule.counts))

    async def __aenter__(self) -> Self:
        """Begins a call; where Redis must be asked, in another thread.

        Raises:
            CircuitOpen: as for a plain call.
        """
        circuit = self._found or self._circuit
        passage = circuit.enter() if circuit.is_quick else await asyncio.to_thread(circuit.enter)
        _begun.set((circuit, passage, _begun.get()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorates a function or a coroutine function: each call of it is a call behind this breaker."""
        if iscoroutinefunction(function):

            @wraps(function)
            async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                async with self:
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", call_async)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return call

    # -- by hand

    def open(self, *, why: str = "", for_s: float = 0.0, who: str = "") -> Seen:
        """Opens it by hand, in all processes.

        Args:
            why: the reason, for those who look.
            for_s: after how many seconds it may be probed; 0: not before somebody closes it.
            who: did it; default: this user and host.

        Returns:
            What Redis says of it now.

        Raises:
            redis.RedisError: Redis could not be asked; the breaker is as it was.
        """
        return self._force("open", why, who, int(for_s * 1000))

    def close(self, *, why: str = "", who: str = "") -> Seen:
        """Closes it by hand, in all processes; its rule goes on. Arguments, return and errors as for :meth:`open`."""
        return self._force("closed", why, who)

    def reset(self, *, why: str = "", who: str = "") -> Seen:
        """Closes it and forgets all about it, as if it had never been used. Otherwise as :meth:`close`."""
        return self._force("reset", why, who)

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half_open``, as this process knows it; before its first call: ``closed``."""
        return self._circuit.seen.state

    def _force(self, state: Literal["open", "closed", "reset"], why: str, who: str, for_ms: int = 0) -> Seen:
        app = app_for(self._app)
        call = breaking.force(circuits_of(app).keys, self.name, who or person(), why, state, for_ms=for_ms)
        return self._circuit.force(call, client_of(app, patience_s=_PATIENCE_S))

    @property
    def _circuit(self) -> Circuit:
        circuit = circuits_of(app_for(self._app)).get(self.name)
        if self._app is not None:
            self._found = circuit
        return circuit


def person() -> str:
    """Who works here, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
