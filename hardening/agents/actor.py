"""Agents: named actors, each with a mailbox, a state and handlers.

The model is Erlang's ``gen_server``: messages are handled one at a time, in the order in which they came, and nobody
else touches the state. Any number of workers may host an agent; Redis sees to it that one of them runs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from hardening.agents.handlers import Handler, handlers_of
from hardening.agents.mailbox import Mailbox
from hardening.agents.outbox import Outbox
from hardening.agents.ref import AgentRef, agent
from hardening.agents.state import AgentState
from hardening.agents.supervisor import Supervisor
from hardening.core.raw import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celery import Celery

__all__ = ["Agent"]

_LONGEST_S = 31_536_000.0


class Agent:
    """A named actor. Subclass it, give it a ``name``, a ``State`` and handlers, and :func:`~hardening.host` it.

    ::

        class Inventory(Agent):
            name = "inventory"

            class State(AgentState):
                stock: dict[str, int] = {}

            @handles("reserve")
            def reserve(self, sku: str, n: int) -> bool:
                left = self.state.stock.get(sku, 0) - n
                if left >= 0:
                    self.state.stock[sku] = left
                return left >= 0

    Handlers are plain methods, run in a worker's pool. What a handler does to ``self.state``, its answer, and what it
    says by :meth:`tell_self`, :meth:`tell` and :meth:`reply` happen together, and once, or not at all; whatever else it
    does may happen again when its worker dies. An instance lives in one process for as long as that runs the agent;
    what is kept on it besides the state is lost with it.

    Attributes:
        name: of the agent, unique in a deployment.
        mailbox: its bound.
        supervisor: what follows when a handler raises.
        snapshot_every: how often the state is written whole: every so many messages. Between, only their arguments are,
            and whoever opens the agent runs those again: handlers must then do the same to the state whenever they are
            run with the same arguments. Worth its while for states of more than about 100 kB that one process runs.
        State: what it remembers.
        app: over whose broker it is reached.
        state: as of the last commit, and what the handler has changed since.
    """

    name: ClassVar[str] = ""
    mailbox: ClassVar[Mailbox] = Mailbox()
    supervisor: ClassVar[Supervisor] = Supervisor()
    snapshot_every: ClassVar[int] = 1
    State: ClassVar[type[AgentState]] = AgentState
    handlers: ClassVar[Mapping[str, Handler]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.handlers = handlers_of(cls)

    def __init__(self, app: Celery, state: Any) -> None:
        self.app = app
        self.state: Any = state
        self.outbox = Outbox(app, is_mute=True)

    @property
    def ref(self) -> AgentRef:
        """How others reach this agent."""
        return agent(self.name, app=self.app)

    def on_start(self) -> None:
        """Called when a process has opened the agent, before the message it is opened for. For connections and such.

        What it raises counts as a restart; the message stays.
        """

    def tell_self(self, handler: str, /, *args: Any, **kwargs: Any) -> None:
        """Has this agent get a message, once, behind those that wait. It goes out with the commit.

        Raises:
            kombu.exceptions.EncodeError: the arguments are not JSON.
        """
        self.outbox.tell(self.name, handler, args, kwargs)

    def tell_self_after(self, delay_s: float, handler: str, /, *args: Any, **kwargs: Any) -> None:
        """The same, not before some time has passed, in seconds.

        Raises:
            ValueError: that is no time to wait.
            kombu.exceptions.EncodeError: the arguments are not JSON.
        """
        if not 0 <= delay_s <= _LONGEST_S:
            raise ValueError(f"delay_s is {delay_s!r}, expected 0 or more seconds")
        self.outbox.tell(self.name, handler, args, kwargs, delay_s=delay_s)

    def tell(self, name: str, handler: str, /, *args: Any, **kwargs: Any) -> None:
        """Has another agent get a message, once. It goes out with the commit, over the bound of the other's mailbox.

        ``agent(name).tell(...)`` goes out at once instead, and again when the message is run again.

        Raises:
            ValueError: it is no name for an agent.
            kombu.exceptions.EncodeError: the arguments are not JSON.
        """
        self.outbox.tell(name, handler, args, kwargs)

    def tell_supervised(self, name: str, handler: str, /, *args: Any, **kwargs: Any) -> str:
        """As :meth:`tell`, with a receipt, by which the message can be followed and cancelled once it has gone out.

        Its id is another one whenever the message is run again: not for the state of an agent with ``snapshot_every``.

        Returns:
            The id of the receipt, for :meth:`hardening.Receipt.load`.

        Raises:
            ValueError: it is no name for an agent.
            kombu.exceptions.EncodeError: the arguments are not JSON.
        """
        receipt = new_id()
        self.outbox.tell(name, handler, args, kwargs, receipt=receipt)
        return receipt

    def send_task(
        self, task: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> str:
        """Has a Celery task be sent with the commit, once, with a receipt; where it goes, the routes of the app say.

        Args:
            task: its name.
            args: its arguments, JSON.
            kwargs: likewise.
            **options: of ``app.send_task``, such as ``time_limit``. Not ``task_id``.

        Returns:
            The id of the receipt, as of :meth:`tell_supervised`.

        Raises:
            ConfigError: it goes to no queue, or to several.
            kombu.exceptions.EncodeError: the arguments are not JSON.
        """
        receipt = new_id()
        self.outbox.send(task, tuple(args), kwargs or {}, options, receipt)
        return receipt

    def defer(self) -> str:
        """Leaves the answer to a later message: what the handler returns answers nobody.

        Returns:
            What :meth:`reply` takes, to be kept in the state; empty where nobody asked.
        """
        self.outbox.is_deferred = True
        return self.outbox.ask

    def reply(self, ask: str, value: Any) -> None:
        """Answers one who asked. It goes out with the commit; an ask is answered by its first answer.

        Args:
            ask: of :meth:`defer`; empty: nobody is answered.
            value: the answer, JSON.

        Raises:
            TypeError: it is not JSON.
        """
        self.outbox.answer(ask, value)
