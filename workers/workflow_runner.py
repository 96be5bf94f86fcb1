"""Running workflows: what the coordinator decides, whatever it was told."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from redis.exceptions import RedisError

from hardening.agents import Agent, AgentState
from hardening.core import telemetry
from hardening.core.deployment import client_of, settings_of
from hardening.core.membership import boot_clock_s
from workers.census import Census, take_census
from workers.crew import Crew
from workers.oversight import WAITING, Doubt, others_for, withdrawn
from workers.performer import StepOrder
from workers.workflow import Workflow  # noqa: TC001 - pydantic reads it
from workers.workflow_events import WorkflowEnded, WorkflowStepReassigned, WorkflowStepStalled
from workers.workflow_shown import summary_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from workers.workflow import Open

__all__ = ["WorkflowRunner"]

#: How many workflows that have ended are kept at most, and for how long, in seconds.
_MOST_ENDED, _KEPT_S = 200, 86_400.0
#: How many ticks may fail to come before there is a new one.
_MISSED = 10
#: How long messages are removed by one handler, in seconds; then they are left to who was given them.
_PATIENCE_S = 2.0
#: Where a message is that nobody has begun.
_NOT_BEGUN = WAITING | {"claimed"}


class WorkflowRunner(Agent):
    """Gives steps to agents, and takes them back.

    Attributes:
        tick_s: how often it looks after workflows that have not ended, in seconds.
    """

    tick_s: ClassVar[float] = 1.0

    class State(AgentState):
        """What it remembers.

        Attributes:
            crew: who can do what.
            workflows: those that have not ended, and the last that have.
            series: which ticks count: those of an older series do not.
            is_ticking: whether there is to be another tick.
            ticked_s: when there was one, by the clock of Redis, in seconds.
        """

        crew: Crew = Crew()
        workflows: dict[str, Workflow] = Field(default_factory=dict)
        series: int = 0
        is_ticking: bool = False
        ticked_s: float = 0.0

    def live(self) -> Iterator[Workflow]:
        """The workflows that have not ended."""
        return (workflow for workflow in self.state.workflows.values() if not workflow.is_over)

    def census(self, receipts: Collection[str] = ()) -> Census:
        """How agents and messages are; while Redis is away, that nobody can be given anything."""
        given = (one.attempt.agent for workflow in self.live() for one in workflow.open())
        agents = {*self.state.crew.members, *given}
        try:
            return take_census(client_of(self.app), settings_of(self.app).keys, agents, receipts)
        except (RedisError, OSError):
            return Census(0.0, dict.fromkeys(agents, "unreachable"), {})

    def go_on(self, census: Census) -> None:
        """Does whatever follows from the state as it is: ends what has ended, gives out what can be."""
        self._release()
        for workflow in self.state.workflows.values():
            workflow.stamp(census.now_s)
            if workflow.is_over and not workflow.is_told:
                self._tell_end(workflow)
        self._forget(census.now_s)
        self._give_out(census)
        missed = census.now_s - self.state.ticked_s > _MISSED * self.tick_s + _MISSED
        if any(True for _ in self.live()) and (missed or not self.state.is_ticking):
            self.state.series += 1
            self.state.is_ticking, self.state.ticked_s = True, census.now_s
            self.tell_self_after(self.tick_s, "tick", self.state.series)

    def settle(self, workflow: Workflow, doubt: Doubt, census: Census) -> None:
        """Decides what becomes of a step that does not go on as it should."""
        (step, number, attempt), policy = doubt.one, workflow.spec.steps[doubt.one.step].when_stalled
        if doubt.kind == "late":
            self._report(workflow, doubt.one, census.now_s, policy)
            if policy == "fail":
                workflow.failed(step, number, doubt.why, census.now_s, state="stalled", is_final=True)
                return
            is_last = number >= workflow.spec.steps[step].max_attempts
            if policy == "report" or not (is_last or others_for(workflow, step, census, self.state.crew)):
                return
        if doubt.kind == "dead" or self._withdrawn(attempt.receipt, census):
            attempt.doubt = doubt.why
            self.tell_self("take_away", workflow.id, step, number)
        elif doubt.kind == "late":
            workflow.failed(step, number, doubt.why, census.now_s, state="stalled")

    def _report(self, workflow: Workflow, one: Open, now_s: float, policy: str) -> None:
        if not one.attempt.is_late:
            one.attempt.is_late = True
            about: dict[str, Any] = {"workflow": workflow.id, "step": one.step, "agent": one.attempt.agent}
            telemetry.emit(WorkflowStepStalled(**about, since_s=now_s - one.attempt.since_s, policy=policy))

    def _withdrawn(self, receipt: str, census: Census) -> bool:
        state, _ = census.messages.get(receipt, ("", ""))
        return state in _NOT_BEGUN and withdrawn(self.app, receipt)

    def _release(self) -> None:
        """Removes what nobody waits for any more, and tells who was given it."""
        surplus = [(workflow, one) for workflow in self.state.workflows.values() for one in workflow.surplus()]
        if not surplus:
            return
        census, until_s = self.census([one.attempt.receipt for _, one in surplus]), boot_clock_s() + _PATIENCE_S
        for workflow, one in surplus:
            was_begun = boot_clock_s() > until_s or not self._withdrawn(one.attempt.receipt, census)
            order = self._order(workflow, one.step, one.number)
            self.tell_supervised(one.attempt.agent, "cancel", order.model_dump(exclude_defaults=True), was_begun)

    def _order(self, workflow: Workflow, step: str, number: int, **more: Any) -> StepOrder:
        do = workflow.spec.steps[step].do
        return StepOrder(coordinator=self.name, workflow=workflow.id, step=step, attempt=number, do=do, **more)

    def _tell_end(self, workflow: Workflow) -> None:
        workflow.is_told = True
        took_s = workflow.ended_s - workflow.since_s
        telemetry.emit(WorkflowEnded(workflow=workflow.id, status=workflow.status, why=workflow.why, took_s=took_s))
        if workflow.spec.notify:
            self.tell(workflow.spec.notify, "workflow_ended", summary_of(workflow))

    def _forget(self, now_s: float) -> None:
        ended = sorted((one for one in self.state.workflows.values() if one.is_over), key=lambda one: -one.ended_s)
        for at, workflow in enumerate(ended):
            if at >= _MOST_ENDED or (now_s and now_s - workflow.ended_s > _KEPT_S):
                del self.state.workflows[workflow.id]

    def _give_out(self, census: Census) -> None:
        load = Counter(one.attempt.agent for workflow in self.live() for one in workflow.open())
        for workflow in self.live():
            for step in workflow.ready():
                self._give(workflow, step, census, load)

    def _give(self, workflow: Workflow, step: str, census: Census, load: Counter[str]) -> None:
        spec, attempts = workflow.spec.steps[step], workflow.steps[step].attempts
        able = others_for(workflow, step, census, self.state.crew)
        agent = self.state.crew.choose(spec.do, able, load, workflow.steps[step].tried)
        if agent is None:
            return
        order = self._order(
            workflow, step, len(attempts) + 1, args=spec.args, kwargs=spec.kwargs, results=workflow.results(step)
        )
        receipt = self.tell_supervised(agent, "perform", order.model_dump())
        number = workflow.give(step, agent, receipt, census.now_s)
        load[agent] += 1
        if number > 1:
            about: dict[str, Any] = {"workflow": workflow.id, "step": step, "agent": agent}
            telemetry.emit(WorkflowStepReassigned(**about, attempt=number, why=attempts[-2].why))
