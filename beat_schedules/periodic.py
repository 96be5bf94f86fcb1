"""Messages that somebody wants to be sent again and again, for as long as he lives: an agent's own ticks.

After Erlang's ``timer:send_interval``, whose timer ends with the process that asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celery import Signature, current_app

from beat_schedules.definition import Definition, check_name
from beat_schedules.errors import ScheduleRefused
from beat_schedules.schedules import Schedules
from hardening.core.agent_keys import MAILBOX_HEAD
from hardening.core.agent_message import AGENT_TASK
from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts.mailing import Halt
from hardening.delivery.recipients import Recipient

if TYPE_CHECKING:
    from celery import Celery

    from beat_schedules.definition import Overlap
    from beat_schedules.entry import Entry
    from hardening.agents import Agent

__all__ = ["Owner", "register_periodic"]


class Owner:
    """Somebody with whose end his periodic messages end: at once when he says so, else when he was silent too long.

    An agent needs none: :func:`register_periodic` takes the agent itself.

    Args:
        app: a hardened one.
        name: of the owner, unlike any other's.
        ttl_s: for how long he may be silent, in seconds.

    Raises:
        ConfigError: the app is not hardened.
        ScheduleRefused: the name is none, or an agent's.
    """

    def __init__(self, app: Celery, name: str, *, ttl_s: float = 30.0) -> None:
        self.app = app
        self.name = check_name(name)
        if name.startswith(MAILBOX_HEAD):
            raise ScheduleRefused(name, "it is the name of a mailbox: hand over the agent itself, agent(NAME)")
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
    owner: Owner | Recipient | Agent,
    id: str,  # noqa: A002 - an agent's word for it
    interval: float | timedelta,
    message: Signature[Any] | Sequence[Any],
    *,
    overlap: Overlap | None = None,
) -> Entry:
    """Has a message sent at an interval until its owner ends; again with the same id, replaces it.

    An agent ends when it is stopped, or not known any more, and need not renew anything: its mailbox tells. While it
    is paused or parked its entry stays. Called with the same interval again, as in ``on_start``, the slots stay. It is
    done at once, not with the commit of a handler that calls it.

    Args:
        owner: whose it is: an :class:`Owner`, who lives from now on for his ``ttl_s``; or an agent that is hosted,
            ``agent("inventory")``, in a handler ``self``.
        id: tells his messages apart.
        interval: in seconds, or a ``timedelta``; the first comes after one.
        message: a task with its arguments and options: ``tick.s("agent-7")``; or, of an agent, its handler and that
            one's arguments: ``("restock", 5)``, which goes to its mailbox, in order with all others. JSON.
        overlap: as of any entry. Default: ``allow``; of a handler ``skip``, so that no more than one waits for an agent
            that is slow, paused or parked.

    Returns:
        The entry, by whose name it can be removed sooner: ``owner/id``, of an agent ``agent.NAME/id``.

    Raises:
        ScheduleRefused: it cannot be a schedule; or the agent is stopped, or nobody has hosted it.
        ConfigError: the app is not hardened.
        redis.RedisError: Redis could not be asked.
    """
    whose = owner if isinstance(owner, Owner | Recipient) else owner.ref
    app, named = (whose.app, whose.name) if isinstance(whose, Owner) else (_app_of(whose), whose.queue)
    schedules, name = Schedules(app), check_name(f"{named}/{id}")
    seconds = interval.total_seconds() if isinstance(interval, timedelta) else interval
    said: dict[str, Any] = {
        **_message(name, whose, message), "schedule": {"every": seconds},
        "catch_up": "skip", "grace_s": max(1.0, min(seconds, 30.0)),
    }  # fmt: skip
    definition = Definition.read(name, said | ({"overlap": overlap} if overlap else {}))
    if isinstance(whose, Owner):
        whose.renew()
    else:
        _check_there(app, name, whose)
    return schedules.put(name, definition, owner=named)


def _message(name: str, whose: Owner | Recipient, message: Any) -> dict[str, Any]:
    """What a definition says of it."""
    if isinstance(message, Signature):
        args, kwargs, options = list(message.args), dict(message.kwargs), dict(message.options)
        return {"task": str(message.task), "args": args, "kwargs": kwargs, "options": options}
    if isinstance(whose, Owner):
        raise ScheduleRefused(name, f"its message is {message!r}, expected a signature: only agents have handlers")
    if not isinstance(message, Sequence) or isinstance(message, str) or not message or not isinstance(message[0], str):
        raise ScheduleRefused(name, f"its message is {message!r}, expected a handler and its arguments: ('restock', 5)")
    options = {"queue": whose.queue, "shadow": f"{whose.name}.{message[0]}", "priority": 0, "ignore_result": True}
    return {"task": AGENT_TASK, "args": list(message), "options": options, "overlap": "skip"}


def _app_of(whose: Recipient) -> Celery:
    return getattr(whose, "app", None) or current_app


def _check_there(app: Celery, name: str, whose: Recipient) -> None:
    if whose.kind != "agent":
        raise ScheduleRefused(name, f"its owner is a {whose.kind}, expected an agent or an Owner")
    bound, halt = client_of(app).hmget(settings_of(app).keys.mailbox(whose.queue), "bound", "halt")
    if bound is None or halt == Halt.STOPPED.encode():
        raise ScheduleRefused(name, f"{whose} is {'not hosted' if bound is None else 'stopped'}, so nothing can be its")
