"""Messages that somebody wants to be sent again and again, for as long as he lives: an agent's own ticks.

After Erlang's ``timer:send_interval``, whose timer ends with the process that asked for it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from beat_schedules.definition import Definition, check_name
from beat_schedules.schedules import Schedules
from hardening.core.deployment import client_of, settings_of

if TYPE_CHECKING:
    from celery import Celery
    from celery.canvas import Signature

    from beat_schedules.entry import Entry

__all__ = ["Owner", "register_periodic"]


class Owner:
    """Somebody with whose end his periodic messages end: at once when he says so, else when he was silent too long.

    Args:
        app: a hardened one.
        name: of the owner, unlike any other's: an agent's.
        ttl_s: for how long he may be silent, in seconds.

    Raises:
        ConfigError: the app is not hardened.
        ScheduleRefused: the name is none.
    """

    def __init__(self, app: Celery, name: str, *, ttl_s: float = 30.0) -> None:
        self.app = app
        self.name = check_name(name)
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._key = settings_of(app).keys.beat_owner(name)

    def renew(self) -> None:
        """Says that he lives; to be called well within ``ttl_s``.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        client_of(self.app).set(self._key, "1", px=self._ttl_ms)

    def end(self) -> None:
        """Says that he has ended: nothing of his is sent any more, and his entries go when they would be due.

        Raises:
            redis.RedisError: Redis could not be asked.
        """
        client_of(self.app).delete(self._key)


def register_periodic(
    owner: Owner,
    id: str,  # noqa: A002 - an agent's word for it
    interval: float | timedelta,
    message: Signature[Any],
) -> Entry:
    """Has a message sent at an interval until its owner ends; again with the same id, replaces it.

    Args:
        owner: whose it is; he lives from now on for his ``ttl_s``.
        id: tells his messages apart.
        interval: in seconds, or a ``timedelta``; the first comes after one.
        message: a task with its arguments and options: ``tick.s("agent-7")``. JSON.

    Returns:
        The entry, by whose name it can be removed sooner: ``owner/id``.

    Raises:
        ScheduleRefused: it cannot be a schedule.
        redis.RedisError: Redis could not be asked.
    """
    schedules, name = Schedules(owner.app), f"{owner.name}/{id}"
    seconds = interval.total_seconds() if isinstance(interval, timedelta) else interval
    said: dict[str, Any] = {
        "task": str(message.task),
        "schedule": {"every": seconds}, "args": list(message.args), "kwargs": dict(message.kwargs),
        "options": dict(message.options), "catch_up": "skip", "grace_s": max(1.0, min(seconds, 30.0)),
    }  # fmt: skip
    owner.renew()
    return schedules.put(name, Definition.read(name, said), owner=owner.name)
