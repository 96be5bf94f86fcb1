"""The agents of the stack: which there are, as they are configured, and how they are hosted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery.signals import worker_ready

from hardening.agents import agent, host
from hardening.core.agent_keys import mailbox_queue
from hardening.core.root_error import HardeningError
from workers.coordinator_agent import CoordinatorAgent
from workers.monitor_agent import MonitorAgent
from workers.readings import LIMITS
from workers.task_agent import TaskAgent
from workers.work_queue import PauseRule

if TYPE_CHECKING:
    from celery import Celery

    from hardening.agents import Agent
    from workers.settings import StackSettings

__all__ = ["agents_of", "host_agents"]

logger = logging.getLogger("workers")


def agents_of(settings: StackSettings) -> tuple[type[Agent], ...]:
    """The agents, configured. Another one is added here."""
    task: dict[str, Any] = {
        "bound": settings.task_bound,
        "concurrency": settings.task_concurrency,
        "when_full": settings.task_when_full,
        "pause_rule": PauseRule(errors=settings.task_pause_errors, within_s=settings.task_pause_within_s),
    }
    monitor: dict[str, Any] = {
        "every_s": settings.monitor_every_s,
        "disk": settings.monitor_disk,
        "limits": {**LIMITS, **settings.monitor_limits},
    }
    return (type("TaskAgent", (TaskAgent,), task), type("MonitorAgent", (MonitorAgent,), monitor), CoordinatorAgent)


def host_agents(app: Celery, *classes: type[Agent]) -> None:
    """Hosts agents, and has a worker that begins to take their messages wake those that look after something.

    Args:
        app: a hardened app.
        *classes: of the agents.
    """
    host(app, *classes)

    def wake(sender: Any = None, **_: Any) -> None:
        if sender is None or sender.app is not app:
            return
        for cls in classes:
            if mailbox_queue(cls.name) in app.amqp.queues.consume_from and "wake" in cls.handlers:
                try:
                    agent(cls.name, app=app).tell("wake")
                except HardeningError as error:  # whoever asks it next wakes it, too
                    logger.warning("agent %s is not woken: %s", cls.name, error)

    worker_ready.connect(wake, weak=False)
