"""What may be submitted to the task agent."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = ["Submission"]

_Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\w.:@-]+$")]


class Submission(BaseModel):
    """An item as somebody submits it; see :meth:`workers.task_agent.TaskAgent.submit`."""

    model_config = ConfigDict(strict=True)

    id: _Name
    task: _Name
    args: list[Any]
    kwargs: dict[str, Any]
    priority: int = Field(ge=0, le=9)
    timeout_s: float = Field(gt=0, le=86_400, allow_inf_nan=False)
