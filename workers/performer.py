"""Agents that do steps of workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from kombu.utils.json import dumps
from pydantic import BaseModel, ConfigDict, ValidationError

from hardening.agents import Agent, Refused, agent, handles
from hardening.agents.outbox import Outbox

if TYPE_CHECKING:
    from celery import Celery

    from hardening.delivery.receipt import Receipt

__all__ = ["LARGEST_RESULT", "LATER", "Performer", "StepFailed", "StepOrder"]

#: How large the result of a step may be, as JSON, in characters.
LARGEST_RESULT = 4096
_HEAD = "perform_"


class StepFailed(Exception):
    """Raise it in ``perform_...``: the step failed, as may happen. Nothing that the method did is committed."""


class _Later:
    """The step is not done yet."""


#: What ``perform_...`` returns when the step is done later, by :meth:`Performer.finish`.
LATER: Final = _Later()


class StepOrder(BaseModel):
    """A step that an agent is to do.

    Attributes:
        coordinator: who is told when it is done.
        workflow: its id.
        step: name of the step.
        attempt: number of the attempt, from 1.
        do: the capability.
        args: for the method.
        kwargs: likewise.
        results: what the steps before returned, by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    coordinator: str
    workflow: str
    step: str
    attempt: int
    do: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    results: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """The same for all attempts: for whatever outside can tell a repeat by a key."""
        return f"{self.workflow}/{self.step}"


class Performer(Agent):
    """An agent that does steps of workflows: give it a method ``perform_<capability>`` for each thing it can do.

    ::

        class Billing(Performer):
            name = "billing"

            class State(AgentState):
                charged: list[int] = []

            def perform_charge(self, order: int) -> str:
                if order in self.state.charged:
                    raise StepFailed("it is charged")
                self.state.charged.append(order)
                return f"receipt of {order}"

    The method gets the arguments of the step. What it does to the state, and that the coordinator is told what it
    returns, JSON of at most 4,096 characters, are one commit. When it raises :class:`StepFailed` the step has failed,
    and is given to another, or to this one again. Whatever else it raises is a failure of the agent, as always; the
    coordinator finds that out, and does the same.

    Attributes:
        coordinator: which agent it tells what it can do.
        order: the step that is being done.
    """

    coordinator: ClassVar[str] = "coordinator"
    order: StepOrder

    @classmethod
    def capabilities(cls) -> list[str]:
        """What it can do."""
        return sorted(name.removeprefix(_HEAD) for name in dir(cls) if name.startswith(_HEAD))

    @classmethod
    def enlist(cls, app: Celery) -> Receipt:
        """Tells the coordinator what it can do, as after each deployment. To do so again does no harm.

        Raises:
            Exception: as :meth:`hardening.AgentRef.tell`.
        """
        return agent(cls.coordinator, app=app).tell("register", cls.name, cls.capabilities())

    def on_cancel(self, order: StepOrder, *, was_begun: bool) -> None:
        """Called when nobody waits for a step any more that this agent was given. For undoing it, or its remains.

        Args:
            order: the step, without its arguments.
            was_begun: whether it may have been done, or be under way; otherwise its message was removed.
        """

    def finish(self, order: StepOrder, result: Any = None) -> None:
        """Tells that a step is done which was to be done :data:`LATER`.

        Raises:
            StepFailed: the result is too large.
            TypeError: it is not JSON.
        """
        size = len(dumps(result))
        if size > LARGEST_RESULT:
            raise StepFailed(f"its result is {size} characters, expected {LARGEST_RESULT}: keep it, and return where")
        self.tell(order.coordinator, "step_done", order.workflow, order.step, order.attempt, result)

    def give_up(self, order: StepOrder, why: str) -> None:
        """Tells that a step has failed."""
        self.tell(order.coordinator, "step_failed", order.workflow, order.step, order.attempt, why)

    @handles("perform")
    def perform(self, order: dict[str, Any]) -> None:
        """Does a step; told by the coordinator."""
        self.order = _order(order)
        method = getattr(self, _HEAD + self.order.do, None)
        if method is None:
            self.give_up(self.order, f"{self.name} cannot {self.order.do}")
            return
        before = self.state.written()
        try:
            result = method(*self.order.args, **self.order.kwargs)
            if result is not LATER:
                self.finish(self.order, result)
        except StepFailed as error:
            self.state = type(self.state).read(before, self.state.schema_version)
            self.outbox = Outbox(self.app)  # what it said is not said
            self.give_up(self.order, str(error))

    @handles("cancel")
    def cancel(self, order: dict[str, Any], was_begun: bool) -> None:  # noqa: FBT001 - a message
        """Told by the coordinator of a step that nobody waits for any more."""
        self.on_cancel(_order(order), was_begun=was_begun)


def _order(said: Any) -> StepOrder:
    try:
        return StepOrder.model_validate(said)
    except ValidationError as error:
        raise Refused(f"that is no step: {error.error_count()} faults, as {error.errors()[0]['msg']}") from None
