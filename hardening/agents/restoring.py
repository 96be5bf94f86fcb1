"""Making an agent from what Redis has of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu.utils.json import dumps, loads

from hardening.agents.errors import StateRefused
from hardening.agents.events import AgentRestored
from hardening.agents.outbox import Outbox
from hardening.agents.residents import Resident
from hardening.core import telemetry
from hardening.core.membership import boot_clock_s

if TYPE_CHECKING:
    from celery import Celery

    from hardening.agents.actor import Agent
    from hardening.core.scripts.agenting import Opened

__all__ = ["entry_of", "restored"]


def entry_of(handler: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """What the journal keeps of a message."""
    return str(dumps([handler, args, kwargs])).encode()


def restored(app: Celery, cls: type[Agent], opened: Opened) -> Resident:
    """The agent as it was committed last.

    Raises:
        StateRefused: its state cannot be read, or what the journal has cannot be run again.

    Events: ``hardening.agent.restored``.
    """
    begin_s = boot_clock_s()
    try:
        state = cls.State.read(opened.state, opened.schema) if opened.state else cls.State()
        agent = cls(app, state)
        agent.outbox = Outbox(app, is_mute=True)
        for entry in opened.entries:
            handler, args, kwargs = loads(entry)
            getattr(agent, cls.handlers[handler].attribute)(*args, **kwargs)
    except Exception as error:
        why = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise StateRefused(cls.name, f"cannot be opened: {why}") from error
    is_old = bool(opened.state) and opened.schema != cls.State.schema_version
    telemetry.emit(
        AgentRestored(
            agent=cls.name, size=len(opened.state), entries=len(opened.entries), took_s=boot_clock_s() - begin_s,
            is_migrated=is_old,
        )
    )  # fmt: skip
    return Resident(agent, opened.mark, None if is_old or opened.entries or not opened.state else opened.state)
