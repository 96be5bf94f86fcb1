"""The app of the stack: what its workers, beats and Flower run, as their environment says.

``celery -A workers.app worker``. What cannot work ends the process with one line, and its container is started
again: so a password file that comes late is waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.signals import after_setup_logger

from hardening import harden
from hardening.core.errors import ConfigError
from workers.settings import StackSettings

if TYPE_CHECKING:
    import logging

__all__ = ["HOSTED", "app", "make_app", "settings"]

#: The modules of the stack whose tasks and agents every worker knows. They import ``app`` from here.
HOSTED = ("workers.tasks", "workers.agents")


def make_app(settings: StackSettings) -> Celery:
    """The hardened app.

    Args:
        settings: with the password in the URLs, as :meth:`~workers.settings.StackSettings.load` has them.

    Raises:
        ConfigError: the broker, or what ``HARDENING_*`` says, cannot work.
    """
    include = (*HOSTED, *settings.include)
    app = Celery("workers", broker=settings.redis_url, backend=settings.results_url, include=include)
    app.conf.update(
        timezone="UTC",
        result_expires=settings.result_expires_s,
        broker_connection_max_retries=None,  # a Redis that comes late is waited for, however late
        worker_send_task_events=True,  # Flower shows them
        task_send_sent_event=True,
    )
    return harden(app)


def _made() -> tuple[StackSettings, Celery]:
    try:
        loaded = StackSettings.load()
        made = make_app(loaded)
    except ConfigError as error:
        raise SystemExit(f"the stack is not configured: {'; '.join(error.faults)}") from None
    after_setup_logger.connect(_leveller(loaded.log_level), weak=False)
    return loaded, made


def _leveller(level: str) -> Any:
    def set_level(logger: logging.Logger, **_: Any) -> None:
        logger.setLevel(level)

    return set_level


settings, app = _made()
