"""The agent ``coordinator``: runs workflows by giving their steps to agents that can do them.

Whoever can do something registers. A step is a message to an agent, with a receipt; what came of it is a message back.
All that is decided is committed together with what is said about it, so a coordinator that is killed at any instant
goes on from there: no step is given out twice for it, and none is forgotten.

A periodic tick finds steps whose agent is gone, halted or dead of them, steps that take too long, and workflows whose
time is over. A step is taken from an agent in two turns: first its message is removed, which is only possible while
nobody has begun it; then the coordinator tells itself to give it to another. What the agent may have said before, that
it was done, stands in the mailbox before that: so a step is not done twice because its agent died.

Does not guarantee: that a step is done once if it stalls (``when_stalled="reassign"``): the first agent may still be at
it. The first that is done counts, and the other is told so.

Events: ``hardening.workflow.stalled``, ``.reassigned``, ``.ended``.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from kombu.utils.json import dumps
from pydantic import TypeAdapter, ValidationError

from hardening.agents import Refused, handles
from hardening.agents.names import checked_name
from hardening.core.membership import boot_clock_s
from workers.oversight import doubts_in
from workers.performer import LARGEST_RESULT
from workers.workflow import Workflow
from workers.workflow_runner import WorkflowRunner
from workers.workflow_shown import details_of, summary_of
from workers.workflow_spec import Name, WorkflowSpec

__all__ = ["CoordinatorAgent"]

#: How many workflows there are at most that have not ended.
_MOST_LIVE = 200
_CAPABILITIES = TypeAdapter(list[Name])


class CoordinatorAgent(WorkflowRunner):
    """Runs workflows."""

    name = "coordinator"

    # -- what agents tell it

    @handles("register")
    def register(self, name: str, capabilities: list[str]) -> None:
        """An agent can do these things, and no others."""
        try:
            self.state.crew.enlist(checked_name(name), _CAPABILITIES.validate_python(capabilities))
        except ValidationError as error:
            raise Refused(f"the capabilities of {name}: {error.errors()[0]['msg']}") from None
        except ValueError as error:
            raise Refused(str(error)) from None
        self.go_on(self.census())

    @handles("unregister")
    def unregister(self, name: str) -> bool:
        """An agent is given nothing more. Returns whether it was registered."""
        return self.state.crew.members.pop(str(name), None) is not None

    @handles("step_done")
    def step_done(self, workflow: str, step: str, attempt: int, result: Any = None) -> None:
        """An agent has done a step."""
        known, number, census = self.state.workflows.get(str(workflow)), _number(attempt), self.census()
        if known is None:
            return
        if len(dumps(result)) > LARGEST_RESULT:
            known.failed(str(step), number, f"its result is larger than {LARGEST_RESULT} characters", census.now_s)
        else:
            known.done(str(step), number, result, census.now_s)
        self.go_on(census)

    @handles("step_failed")
    def step_failed(self, workflow: str, step: str, attempt: int, why: str = "") -> None:
        """An agent has failed at a step."""
        known, census = self.state.workflows.get(str(workflow)), self.census()
        if known is not None:
            known.failed(str(step), _number(attempt), str(why), census.now_s)
            self.go_on(census)

    # -- what people ask of it

    @handles("start")
    def start(self, workflow: dict[str, Any]) -> str:
        """Starts a workflow, see :class:`~workers.workflow_spec.WorkflowSpec`. Returns its id."""
        try:
            spec = WorkflowSpec.read(workflow)
        except ValueError as error:
            raise Refused(f"that is no workflow: {error}") from None
        known = self.state.workflows.get(spec.id)
        if known is not None:
            if known.spec != spec:
                raise Refused(f"there is another workflow with the id {spec.id}: choose one of its own, or none")
            return spec.id
        for name, step in spec.steps.items():
            if not self.state.crew.capable(step.do):
                raise Refused(f"step {name}: no agent that can {step.do} is registered")
        if sum(1 for _ in self.live()) >= _MOST_LIVE:
            raise Refused(f"{_MOST_LIVE} workflows have not ended, which is all: start it later")
        census = self.census()
        identity = spec.id or str(uuid4())
        self.state.workflows[identity] = Workflow.of(identity, spec, census.now_s)
        self.go_on(census)
        return identity

    @handles("status")
    def status(self, workflow: str) -> dict[str, Any]:
        """All that is known of a workflow."""
        self.go_on(self.census())
        return details_of(self._known(workflow))

    @handles("list")
    def list_workflows(self, status: str = "", limit: int = 50) -> list[dict[str, Any]]:
        """Workflows, those that began last first."""
        found = [one for one in self.state.workflows.values() if status in {"", one.status}]
        found.sort(key=lambda one: one.since_s, reverse=True)
        return [summary_of(one) for one in found[: max(0, _number(limit))]]

    @handles("pause")
    def pause(self, workflow: str) -> str:
        """Gives out no more steps of a workflow; those that are given out are finished. Its time goes on."""
        return self._turn(workflow, is_paused=True)

    @handles("resume")
    def resume(self, workflow: str) -> str:
        """Goes on with a workflow that is paused."""
        return self._turn(workflow, is_paused=False)

    @handles("cancel")
    def cancel(self, workflow: str) -> dict[str, Any]:
        """Cancels a workflow: what has not begun is removed, and every agent that was given a step is told."""
        known, census = self._known(workflow), self.census()
        if not known.cancel(census.now_s) and known.status != "cancelled":
            raise Refused(f"workflow {known.id} is {known.status}")
        self.go_on(census)
        return summary_of(known)

    # -- what it tells itself

    @handles("tick")
    def tick(self, series: int) -> None:
        """Looks after everything that has not ended."""
        if series != self.state.series:
            return
        self.state.is_ticking = False
        receipts = [one.attempt.receipt for workflow in self.live() for one in workflow.open()]
        census, until_s = self.census(receipts), boot_clock_s() + self.tick_s
        for workflow in self.live():
            workflow.expire(census.now_s)
            for doubt in doubts_in(workflow, census, self.state.crew):
                if boot_clock_s() < until_s:  # the rest is for the next tick
                    self.settle(workflow, doubt, census)
        self.go_on(census)

    @handles("take_away")
    def take_away(self, workflow: str, step: str, attempt: int) -> None:
        """Takes a step from an agent that will not do it; what that had said before was heard before this."""
        known = self.state.workflows.get(workflow)
        given = known.given(step, attempt) if known is not None else None
        if known is not None and given is not None and given.doubt:
            census = self.census()
            known.failed(step, attempt, given.doubt, census.now_s, state="lost")
            self.go_on(census)

    # -- how

    def _known(self, workflow: str) -> Workflow:
        known: Workflow | None = self.state.workflows.get(str(workflow))
        if known is None:
            raise Refused(f"there is no workflow {str(workflow)[:100]!r}, or it ended long ago")
        return known

    def _turn(self, workflow: str, *, is_paused: bool) -> str:
        known = self._known(workflow)
        if not known.turn(is_paused=is_paused):
            raise Refused(f"workflow {known.id} is {known.status}")
        self.go_on(self.census())
        return known.status


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"{str(value)[:100]!r} is no number")
    return value
