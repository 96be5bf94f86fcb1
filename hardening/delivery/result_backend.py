"""Celery's result backends on Redis, which sending no longer waits for.

Stock Celery subscribes to the result of every task before it sends it. While Redis is away that takes twenty attempts,
19 s, and ends in a RuntimeError, before anything could be spooled; and a process that never looks at its results keeps
a subscription for each. Nothing is lost without: who waits for a result subscribes then, and looks first whether it is
there already (``AsyncBackendMixin._add_pending_result``, ``ResultConsumer.on_wait_for_pending``).
"""

from __future__ import annotations

from typing import Any

from celery.backends import redis

__all__ = ["OVERRIDES", "RedisBackend", "SentinelBackend"]


class _SendsAtOnce:
    """What a sender calls of its backend does nothing."""

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Celery is about to send a task."""


class RedisBackend(_SendsAtOnce, redis.RedisBackend):
    """Results in one Redis."""


class SentinelBackend(_SendsAtOnce, redis.SentinelBackend):
    """Results in a Redis that Sentinels watch."""


#: By the scheme of their URL, as Celery's loader wants them.
OVERRIDES = {
    "redis": f"{__name__}:RedisBackend",
    "rediss": f"{__name__}:RedisBackend",
    "sentinel": f"{__name__}:SentinelBackend",
}
