"""The state of agents in Redis, as a worker's pool reads and commits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billiard.exceptions import SoftTimeLimitExceeded
from redis.exceptions import OutOfMemoryError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay
from tenacity import wait_random_exponential as full_jitter

from hardening.core.deployment import client_of, scope_of, settings_of
from hardening.core.scripts import agenting
from hardening.core.scripts.agenting import Failure, Opened
from hardening.delivery.attempts import TRANSIENT

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.scripts import Call
    from hardening.core.scripts.agenting import Change, Failing, Rule, Turn

__all__ = ["REPLY_TTL_S", "Store", "StoreAway"]

#: How long an answer waits for who asked, in seconds.
REPLY_TTL_S = 60.0
#: How long a worker goes on asking a Redis that is away or full, before it gives the message back, in seconds.
_INSIST_S = 10.0


class StoreAway(Exception):
    """Redis has been away, or full, for too long. What was asked of it may have been done."""


class Store:
    """What a process asks of Redis for one message of an agent. Each is one script, which may be repeated.

    Args:
        app: over whose broker.
        turn: which message.
    """

    def __init__(self, app: Celery, turn: Turn) -> None:
        self._app = app
        self._turn = turn
        self._scope = scope_of(app, turn.consumer)

    def open(self, mark: str) -> Opened:
        """Opens the agent.

        Args:
            mark: of the version that this process has; empty: none.

        Raises:
            StoreAway: Redis has been away for too long.
        """
        return Opened.parse(self._run(agenting.open_agent(settings_of(self._app).keys, self._turn, mark)))

    def commit(self, mark: str, change: Change) -> str:
        """Commits what the message did to the version with that mark.

        Returns:
            The new mark; empty: refused; ``=``: it was committed before.

        Raises:
            StoreAway: as :meth:`open`. It may have been committed.
        """
        call = agenting.commit(self._scope, self._turn, mark, change, reply_ttl_ms=round(REPLY_TTL_S * 1000))
        reply: bytes = self._run(call)
        return reply.decode()

    def failed(self, rule: Rule, failing: Failing) -> Failure:
        """Counts a failure.

        Raises:
            StoreAway: as :meth:`open`.
        """
        call = agenting.failed(self._scope, self._turn, rule, failing, reply_ttl_ms=round(REPLY_TTL_S * 1000))
        return Failure.parse(self._run(call))

    def _run(self, call: Call) -> Any:
        try:
            return call.run(client_of(self._app))
        except (*TRANSIENT, OutOfMemoryError, SoftTimeLimitExceeded):
            # Nobody knows whether it was done, so it is repeated, also when the time is up: the hard limit holds.
            again = Retrying(
                retry=retry_if_exception_type((*TRANSIENT, OutOfMemoryError)), stop=stop_after_delay(_INSIST_S),
                wait=full_jitter(multiplier=0.05, max=1.0), reraise=True,
            )  # fmt: skip
            try:
                return again(lambda: call.run(client_of(self._app)))
            except (*TRANSIENT, OutOfMemoryError) as error:
                raise StoreAway(f"{type(error).__name__}: {error}") from error
