"""The attempts to publish: within a time, again after a pause, and not at all while the breaker is open."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import BusyLoadingError, ReadOnlyError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from tenacity import AsyncRetrying, Retrying, retry_if_exception_type
from tenacity import wait_random_exponential as full_jitter

from hardening.core import telemetry
from hardening.core.deployment import LEAST_PATIENCE_S, client_of, forget_clients
from hardening.core.membership import boot_clock_s

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from celery import Celery
    from redis import Redis
    from tenacity import RetryCallState

    from hardening.delivery.breaker import Breaker

__all__ = ["TRANSIENT", "Attempts", "is_refusal"]

T = TypeVar("T")

#: What may be over in a moment. A refused write on a full Redis is not among them.
TRANSIENT = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OSError)


class Attempts:
    """All attempts of one publication.

    Args:
        app: over whose broker.
        retries: how often to try again while Redis is away.
        timeout_s: the longest that all attempts may take together, counted from now, in seconds.
        breaker: asked before the first attempt, told of each.

    Attributes:
        count: how often it was tried.
        is_uncertain: an attempt that failed may have succeeded all the same.
    """

    def __init__(self, app: Celery, *, retries: int, timeout_s: float, breaker: Breaker) -> None:
        self._app = app
        self._retries = retries
        self.timeout_s = timeout_s
        self._until_s = boot_clock_s() + timeout_s
        self._breaker = breaker
        self.count = 0
        self.is_uncertain = False

    def run(self, task: str, publish: Callable[[Redis], T]) -> T:
        """Publishes, again if need be, which must be safe: receipts tell repeats apart.

        Args:
            task: what the events name.
            publish: one attempt.

        Raises:
            BreakerOpen: Redis has been away for a while; nothing was tried.
            redis.RedisError: the last attempt's.
        """
        generation = self._breaker.ask()

        def attempt(patience_s: float) -> T:
            self.count += 1
            try:
                with self._breaker.watching(generation):
                    return publish(client_of(self._app, patience_s=patience_s))
            except TRANSIENT as error:
                self.is_uncertain |= not is_refusal(error)
                raise

        try:
            return attempt(self.timeout_s)
        except TRANSIENT as error:
            forget_clients(self._app)
            if not self._retries or not self.left_s:
                raise
            self._tell(task, error)
            return self._retrying(task)(lambda: attempt(self.left_s))

    @property
    def left_s(self) -> float:
        """How much of the time is left, in seconds."""
        return max(0.0, self._until_s - boot_clock_s())

    async def run_async(
        self, task: str, publish: Callable[[], Awaitable[T]], forget: Callable[[], Awaitable[None]]
    ) -> T:
        """Publishes as :meth:`run` does, in an event loop.

        Args:
            task: what the events name.
            publish: one attempt.
            forget: called after an attempt that failed, so that the next looks anew for a broker.
        """
        generation = self._breaker.ask()

        async def attempt() -> T:
            self.count += 1
            try:
                with self._breaker.watching(generation):
                    # The time may be up before it began, as when the message before it has waited for replicas.
                    async with asyncio.timeout(max(self.left_s, LEAST_PATIENCE_S)):
                        return await publish()
            except TRANSIENT as error:
                self.is_uncertain |= not is_refusal(error)
                forget_clients(self._app)
                await forget()
                raise

        try:
            return await attempt()
        except TRANSIENT as error:
            if not self._retries or not self.left_s:
                raise
            self._tell(task, error)
            return await AsyncRetrying(**self._policy(task))(attempt)

    def _retrying(self, task: str) -> Retrying:
        return Retrying(**self._policy(task))

    def _policy(self, task: str) -> dict[str, Any]:
        pause = full_jitter(multiplier=0.05, max=1.0)

        def before_sleep(state: RetryCallState) -> None:
            forget_clients(self._app)
            if state.outcome is not None:
                self._tell(task, state.outcome.exception())

        return {
            "stop": lambda state: state.attempt_number >= self._retries or not self.left_s,
            "wait": lambda state: min(pause(state), self.left_s),
            "retry": retry_if_exception_type(TRANSIENT),
            "before_sleep": before_sleep,
            "reraise": True,
        }

    def _tell(self, task: str, error: BaseException | None) -> None:
        telemetry.emit(telemetry.PublishRetried(task=task, attempt=self.count, error=repr(error)))


def is_refusal(error: BaseException) -> bool:
    """Whether an attempt certainly changed nothing: Redis said so, or nobody was there to hear it."""
    causes = (error, error.__cause__, error.__context__)
    nobody = (ConnectionRefusedError, FileNotFoundError, socket.gaierror)
    return isinstance(error, BusyLoadingError | ReadOnlyError) or any(isinstance(one, nobody) for one in causes)
