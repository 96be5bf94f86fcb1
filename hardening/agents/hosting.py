"""Hosting: which agents the workers of an app may run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardening.agents.agent import Agent
from hardening.agents.names import addressed, checked_name
from hardening.agents.steps import mailbox_step
from hardening.agents.table import table_of
from hardening.agents.task import add_task
from hardening.core.deployment import settings_of
from hardening.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

__all__ = ["host"]

_MOST_ENTRIES = 1000


def host(app: Celery, *classes: type[Agent]) -> None:
    """Has workers of an app run agents: those that take from their mailboxes, such as ``celery worker -Q agent.NAME``.

    Call it where the app is made, after ``harden(app)``. It is harmless in producers, which need it to know the bound
    of a mailbox; hosting an agent again changes nothing.

    Args:
        app: a hardened app.
        *classes: of the agents.

    Raises:
        ConfigError: the app is not hardened; a class is no agent, or one that cannot work; a name is taken.
    """
    settings_of(app)
    table = table_of(app)
    for cls in classes:
        _check(cls, table)
        if not table:
            add_task(app, table)
            app.steps["consumer"].add(mailbox_step(table))
        table[cls.name] = cls
        if not app.conf.task_create_missing_queues:  # otherwise -Q does
            app.amqp.queues.add(addressed(cls.name, "")["queue"])


def _check(cls: Any, table: Mapping[str, type[Agent]]) -> None:
    if not (isinstance(cls, type) and issubclass(cls, Agent)) or cls is Agent:
        raise ConfigError(f"{cls!r} is no agent, expected a subclass of hardening.Agent")
    try:
        checked_name(cls.name)
    except ValueError as error:
        raise ConfigError(f"{cls.__qualname__}.name: {error}") from None
    if table.get(cls.name, cls) is not cls:
        raise ConfigError(f"{cls.__qualname__} is named {cls.name!r}, as is {table[cls.name].__qualname__}: rename one")
    if isinstance(cls.snapshot_every, bool) or not 1 <= cls.snapshot_every <= _MOST_ENTRIES:
        raise ConfigError(f"{cls.__qualname__}.snapshot_every is {cls.snapshot_every!r}, expected 1 to {_MOST_ENTRIES}")
    try:
        cls.State()
    except ValueError as error:
        why = str(error).replace("\n", " ")
        raise ConfigError(f"{cls.__qualname__}.State needs a default for every field: {why}") from None
