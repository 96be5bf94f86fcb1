"""A boot step: the queues that a worker takes agents' messages from are mailboxes before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import bootsteps
from celery.exceptions import WorkerShutdown
from celery.utils.log import get_logger
from celery.worker.consumer.tasks import Tasks
from redis.exceptions import OutOfMemoryError

from hardening.core.agent_keys import MAILBOX_HEAD
from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts.mailing import found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hardening.agents.agent import Agent

__all__ = ["mailbox_step"]

logger = get_logger(__name__)
#: The exit code for a configuration that cannot work (sysexits.h).
_EX_CONFIG = 78


def mailbox_step(hosted: Mapping[str, type[Agent]]) -> type[bootsteps.StartStopStep]:
    """The step of an app with these agents.

    It runs in the worker's parent process with each new connection, after the queues are known and before anything is
    taken from them.
    """

    class MailboxStep(bootsteps.StartStopStep):
        """Founds mailboxes."""

        requires = (Tasks,)

        def start(self, consumer: Any) -> None:
            """The consumer has a channel, and takes nothing yet."""
            app = consumer.app
            for queue in app.amqp.queues.consume_from:
                if not queue.startswith(MAILBOX_HEAD):
                    continue
                cls = hosted.get(queue.removeprefix(MAILBOX_HEAD))
                if cls is None:
                    known = ", ".join(sorted(hosted))
                    logger.critical("no agent here takes from %s; those that are hosted: %s", queue, known)
                    raise WorkerShutdown(_EX_CONFIG)
                try:
                    found(settings_of(app).keys, cls.name, cls.mailbox.bound, cls.mailbox.when_full).run(client_of(app))
                except OutOfMemoryError as error:
                    logger.warning("%s is no mailbox yet, Redis is full: %s", queue, error)

    return MailboxStep
