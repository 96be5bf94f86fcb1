"""What a workflow is to do: steps, each after others, as whoever starts it says."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal, Self

from kombu.utils.json import dumps
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hardening.agents.names import checked_name

__all__ = ["LARGEST_SPEC", "MOST_ATTEMPTS", "MOST_STEPS", "Name", "StepSpec", "WorkflowSpec"]

#: How many steps a workflow has at most, and how often a step is given to an agent.
MOST_STEPS, MOST_ATTEMPTS = 100, 10
#: How large the arguments of all its steps may be, as JSON, in characters.
LARGEST_SPEC = 32_768
_YEAR_S = 31_536_000.0

#: Of a workflow, a step or a capability.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,99}$")]
Seconds = Annotated[float, Field(gt=0, le=_YEAR_S)]


class StepSpec(BaseModel):
    """One step.

    Attributes:
        do: what it takes to do it: a capability.
        args: for it, JSON.
        kwargs: likewise.
        after: the steps that must be done before.
        max_attempts: how often it is given to an agent at most.
        stall_after_s: how long it may take, waiting in a mailbox included, in seconds.
        when_stalled: what follows when it takes longer. ``reassign``: it is given to another agent, while the first may
            still be at it. ``fail``: the workflow fails. ``report``: it is only told.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    do: Name
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    after: list[Name] = Field(default=[], max_length=MOST_STEPS)
    max_attempts: int = Field(default=3, ge=1, le=MOST_ATTEMPTS)
    stall_after_s: Seconds = 300.0
    when_stalled: Literal["reassign", "fail", "report"] = "reassign"


class WorkflowSpec(BaseModel):
    """One workflow.

    Attributes:
        id: by which it is known; a start with an id that there is returns it, and starts nothing. Empty: a new one.
        steps: by name.
        timeout_s: how long it may take in all, in seconds.
        notify: the agent that is told ``workflow_ended`` with its status; empty: none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Name | Literal[""] = ""
    steps: dict[Name, StepSpec] = Field(min_length=1, max_length=MOST_STEPS)
    timeout_s: Seconds = 86_400.0
    notify: str = ""

    @classmethod
    def read(cls, said: Any) -> Self:
        """What somebody said, who is not trusted.

        Raises:
            ValueError: it is no workflow; one line that says all that is wrong.
        """
        if not isinstance(said, dict):
            raise ValueError(f"expected {{'steps': {{...}}}}, got {type(said).__name__}")
        try:
            return cls.model_validate(said)
        except ValidationError as error:
            faults = [_fault(item) for item in error.errors(include_url=False, include_input=False)]
            more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""  # noqa: PLR2004 - as many as one reads
            raise ValueError("; ".join(faults[:5]) + more) from None

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        for name, step in self.steps.items():
            unknown = [other for other in step.after if other not in self.steps]
            if unknown:
                raise ValueError(f"step {name!r} is after {unknown[0]!r}, which is no step of it")
        try:
            TopologicalSorter({name: step.after for name, step in self.steps.items()}).prepare()
        except CycleError as error:
            raise ValueError(f"its steps wait for each other: {' > '.join(error.args[1])}") from None
        if self.notify:
            checked_name(self.notify)
        size = sum(len(dumps([step.args, step.kwargs])) for step in self.steps.values())
        if size > LARGEST_SPEC:
            raise ValueError(f"its arguments are {size} characters of JSON, expected {LARGEST_SPEC} at most")
        return self


def _fault(item: Any) -> str:
    where = ".".join(str(part)[:100] for part in item["loc"])
    what = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {what[0].lower()}{what[1:]}" if where else what
