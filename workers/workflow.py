"""What has become of a workflow: pure, without agents, Redis or a clock of its own.

A step is given to an agent, which is an *attempt*. The first attempt that is heard to have done it counts, whichever it
is; what comes later changes nothing. Attempts that may still run are *open*: when their workflow ends, those who have
them must be told.

Guarantees: a step is given out only when all steps before it are done, at most ``max_attempts`` times, and never twice
at a time unless the first attempt stalled. It is done once. A workflow that has ended does not change any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from workers.workflow_spec import WorkflowSpec  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ENDED", "Attempt", "Open", "Step", "Workflow"]

Status = Literal["running", "paused", "completed", "failed", "cancelled"]
#: How a workflow ends.
ENDED = frozenset({"completed", "failed", "cancelled"})
#: Attempts of which nobody knows that they are over.
_OPEN = frozenset({"given", "stalled"})
_LINE = 300


class Attempt(BaseModel):
    """One attempt at a step.

    Attributes:
        agent: who was given it.
        receipt: of the message.
        since_s: when, by the clock of Redis, in seconds.
        state: ``given``; ``done``; ``failed``; ``lost``: its agent cannot do it any more; ``stalled``: it takes too
            long, and another was given it; ``cancelled``: with its workflow.
        doubt: why it is being taken back; empty: it is not.
        why: why it failed, was lost or stalled.
        is_late: whether it was told that it takes too long.
    """

    model_config = ConfigDict(extra="forbid")

    agent: str
    receipt: str
    since_s: float
    state: Literal["given", "done", "failed", "lost", "stalled", "cancelled"] = "given"
    doubt: str = ""
    why: str = ""
    is_late: bool = False


class Step(BaseModel):
    """What has become of a step.

    Attributes:
        state: ``waiting`` for other steps or for an agent, ``given`` to one, ``done``, ``failed`` or ``cancelled``.
        attempts: all, the last one last; they count from 1.
        result: what it returned, JSON.
    """

    model_config = ConfigDict(extra="forbid")

    state: Literal["waiting", "given", "done", "failed", "cancelled"] = "waiting"
    attempts: list[Attempt] = []
    result: Any = None

    @property
    def tried(self) -> list[str]:
        """Who was given it before."""
        return [attempt.agent for attempt in self.attempts]


class Open(NamedTuple):
    """An attempt that may run.

    Attributes:
        step: of which step.
        number: which attempt.
        attempt: itself.
    """

    step: str
    number: int
    attempt: Attempt


class Workflow(BaseModel):
    """One workflow.

    Attributes:
        id: of the workflow.
        spec: what it is to do.
        since_s: when it was started, by the clock of Redis, in seconds; 0: that is not known yet.
        status: ``running``, ``paused``, ``completed``, ``failed`` or ``cancelled``.
        why: why it failed.
        ended_s: when it ended, in seconds; 0: it has not.
        is_told: whether it was told that it has ended.
        steps: by name.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    spec: WorkflowSpec
    since_s: float
    status: Status = "running"
    why: str = ""
    ended_s: float = 0.0
    is_told: bool = False
    steps: dict[str, Step]

    @classmethod
    def of(cls, identity: str, spec: WorkflowSpec, now_s: float) -> Workflow:
        """A workflow that begins."""
        return cls(id=identity, spec=spec, since_s=now_s, steps={name: Step() for name in spec.steps})

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.status in ENDED

    def ready(self) -> list[str]:
        """Steps that wait for nothing but an agent."""
        if self.status != "running":
            return []
        return [name for name, step in self.steps.items() if step.state == "waiting" and self._may(name)]

    def open(self) -> Iterator[Open]:
        """The attempts that may still run."""
        for name, step in self.steps.items():
            for number, attempt in enumerate(step.attempts, 1):
                if attempt.state in _OPEN:
                    yield Open(name, number, attempt)

    def given(self, name: str, number: int) -> Attempt | None:
        """The attempt that a step waits for, if it is that one."""
        step = self.steps.get(name)
        if self.is_over or step is None or step.state != "given" or number != len(step.attempts):
            return None
        return step.attempts[-1]

    def results(self, name: str) -> dict[str, Any]:
        """What the steps before a step returned."""
        return {other: self.steps[other].result for other in self.spec.steps[name].after}

    def give(self, name: str, agent: str, receipt: str, now_s: float) -> int:
        """A step is given to an agent.

        Returns:
            The number of the attempt.
        """
        step = self.steps[name]
        step.state = "given"
        step.attempts.append(Attempt(agent=agent, receipt=receipt, since_s=now_s))
        return len(step.attempts)

    def done(self, name: str, number: int, result: Any, now_s: float) -> bool:
        """An attempt did its step.

        Returns:
            Whether that counts.
        """
        step = self.steps.get(name)
        if self.is_over or step is None or step.state == "done" or not 1 <= number <= len(step.attempts):
            return False
        step.state, step.result = "done", result
        step.attempts[number - 1].state = "done"
        if all(other.state == "done" for other in self.steps.values()):
            self._end("completed", "", now_s)
        return True

    def failed(
        self, name: str, number: int, why: str, now_s: float, *, state: Literal["failed", "lost", "stalled"] = "failed",
        is_final: bool = False,
    ) -> bool:  # fmt: skip
        """The attempt that a step waits for came to nothing: the step waits for another agent, or the workflow fails.

        Args:
            name: of the step.
            number: of the attempt.
            why: one line.
            now_s: by the clock of Redis, in seconds.
            state: of the attempt.
            is_final: whether no other attempt is made.

        Returns:
            Whether that counts.
        """
        attempt = self.given(name, number)
        if attempt is None:
            stalled = next((one.attempt for one in self.open() if (one.step, one.number) == (name, number)), None)
            if stalled is not None and state == "failed" and not self.is_over:  # another has the step
                stalled.state, stalled.why = "failed", why[:_LINE]
            return False
        attempt.state, attempt.why, attempt.doubt = state, why[:_LINE], ""
        step = self.steps[name]
        if is_final or number >= self.spec.steps[name].max_attempts:
            step.state = "failed"
            self._end("failed", f"step {name} {state} after {number} attempts: {why}"[:_LINE], now_s)
        else:
            step.state = "waiting"
        return True

    def stamp(self, now_s: float) -> None:
        """What happened while the time was not known happens now."""
        self.since_s = self.since_s or now_s
        if self.is_over:
            self.ended_s = self.ended_s or now_s

    def expire(self, now_s: float) -> bool:
        """Fails it if its time is over. Returns whether it was."""
        if self.is_over or not self.since_s or now_s - self.since_s <= self.spec.timeout_s:
            return False
        self._end("failed", f"it was not done within {self.spec.timeout_s:g} s", now_s)
        return True

    def turn(self, *, is_paused: bool) -> bool:
        """Gives out no more steps, or goes on. Returns whether it has not ended."""
        if not self.is_over:
            self.status = "paused" if is_paused else "running"
        return not self.is_over

    def cancel(self, now_s: float) -> bool:
        """Cancels it. Returns whether that is news."""
        if self.is_over:
            return False
        self._end("cancelled", "", now_s)
        return True

    def surplus(self) -> list[Open]:
        """Attempts that may still run and that nobody waits for any more; each is told of once."""
        found = [one for one in self.open() if self.is_over or self.steps[one.step].state == "done"]
        for one in found:
            one.attempt.state = "cancelled"
        return found

    def overdue(self, now_s: float) -> Iterator[Open]:
        """Attempts that have taken too long."""
        for one in self.open():
            if one.attempt.state == "given" and now_s - one.attempt.since_s > self.spec.steps[one.step].stall_after_s:
                yield one

    def _may(self, name: str) -> bool:
        return all(self.steps[other].state == "done" for other in self.spec.steps[name].after)

    def _end(self, status: Status, why: str, now_s: float) -> None:
        self.status, self.why, self.ended_s = status, why, now_s
        for step in self.steps.values():
            if step.state in {"waiting", "given"}:
                step.state = "cancelled"
