"""How an agent is reached, from any process."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from celery import current_app

from hardening.agents.asking import aask, ask
from hardening.agents.names import checked_name
from hardening.agents.status import statuses
from hardening.agents.telling import atell, tell
from hardening.core.agent_keys import mailbox_queue
from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts.mailing import Halt, halt
from hardening.delivery.recipients import Recipient
from hardening.monitors import Target, monitor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

    from hardening.agents.status import AgentStatus
    from hardening.delivery.receipt import Receipt
    from hardening.monitors import MonitorRef

__all__ = ["AgentRef", "agent"]


@dataclass(frozen=True, slots=True)
class AgentRef(Recipient):
    """An agent, by its name; made by :func:`agent`. Nobody asks whether it is there before something is sent.

    A broadcast takes it as a recipient.

    Attributes:
        app: over whose broker it is reached.
        options: of its messages, see :meth:`sending`.
    """

    app: Celery | None = field(default=None, compare=False, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def _app(self) -> Celery:
        return self.app or current_app

    def sending(self, **options: Any) -> AgentRef:
        """The same agent, whose messages are sent with these options of ``supervised_send``.

        ``agent("inventory").sending(idempotency_key="order-17", delay=60).tell("reserve", "x", 1)``. Not ``queue`` or
        ``priority``: a mailbox has one order.
        """
        return replace(self, options={**self.options, **options})

    def tell(self, handler: str, /, *args: Any, **kwargs: Any) -> Receipt:
        """Sends a message to the agent, supervised; returns when it is in the mailbox. One round trip.

        While Redis is away the message goes to the spool, as with ``supervised_send``.

        Args:
            handler: what the agent is told.
            *args: for the handler, JSON.
            **kwargs: likewise.

        Returns:
            The receipt; ``acked`` when what the message did is committed.

        Raises:
            MailboxFull: there is no room for it.
            PublishFailed: Redis did not take it, nor could it be spooled.
            ConfigError: the app is not hardened, or runs tasks eagerly.
            kombu.exceptions.EncodeError: the arguments are not JSON.
        """
        return tell(self._app, self.name, handler, args, kwargs, self.options)

    async def atell(self, handler: str, /, *args: Any, **kwargs: Any) -> Receipt:
        """As :meth:`tell`, from a coroutine."""
        return await atell(self._app, self.name, handler, args, kwargs, self.options)

    def ask(self, handler: str, /, *args: Any, timeout: float = 5.0, **kwargs: Any) -> Any:
        """Sends a message to the agent and waits for its answer. Inside a task, no longer than that one's deadline.

        What the agent has not begun when the time is over, it will not do.

        Args:
            handler: what the agent is asked.
            *args: for the handler, JSON.
            timeout: the longest to wait, in seconds.
            **kwargs: for the handler, as ``args``.

        Returns:
            What the handler returned, as JSON has it, or what was given to :meth:`~hardening.Agent.reply`.

        Raises:
            AskFailed: the handler raised, and did nothing; or the message died.
            AskTimeout: there was no answer in time. Whether it was done, the receipt tells.
            AgentHalted: the agent is paused, parked or stopped.
            MailboxFull: as for :meth:`tell`.
            PublishFailed: Redis did not take the message.
            ConfigError: as for :meth:`tell`.
            ValueError: an agent asks itself, or the timeout is no number of seconds.
        """
        return ask(self._app, self.name, handler, args, kwargs, self.options, timeout)

    async def aask(self, handler: str, /, *args: Any, timeout: float = 5.0, **kwargs: Any) -> Any:  # noqa: ASYNC109
        """As :meth:`ask`, from a coroutine: no thread waits."""
        return await aask(self._app, self.name, handler, args, kwargs, self.options, timeout)

    def monitor(self, tag: str = "", **options: Any) -> MonitorRef:
        """Watches the agent: down when no living worker takes from its mailbox; see :func:`hardening.monitor`.

        Args:
            tag: what it is for.
            **options: as there.
        """
        return monitor(Target.agent(self.name), tag, app=self._app, **options)

    def status(self) -> AgentStatus:
        """How the agent is. One round trip.

        Raises:
            redis.RedisError: Redis is away.
        """
        return statuses(client_of(self._app), settings_of(self._app).keys, [self.name])[0]

    def pause(self) -> bool:
        """Has the agent take no more messages: they wait. What it is doing it finishes.

        Returns:
            Whether that is news; False also for an agent that is not there.
        """
        return self._halt(Halt.PAUSED)

    def stop(self) -> bool:
        """The same, for good: it says that the agent is meant to be gone. What waits for it stays."""
        return self._halt(Halt.STOPPED)

    def resume(self) -> bool:
        """Lets an agent that was paused, parked or stopped go on, at once, with no restarts counted.

        Returns:
            Whether it was halted, or backing off.
        """
        client_of(self._app).delete(settings_of(self._app).keys.restarts(self.name))
        return self._halt(None)

    def _halt(self, why: Halt | None) -> bool:
        return bool(halt(settings_of(self._app).keys, self.name, why).run(client_of(self._app)) == 1)


def agent(name: str, app: Celery | None = None) -> AgentRef:
    """An agent, by its name.

    Args:
        name: of the agent.
        app: over whose broker it is reached; default: the current app, when something is sent.

    Raises:
        ValueError: it is no name for an agent.
    """
    return AgentRef("agent", checked_name(name), mailbox_queue(name), app)
