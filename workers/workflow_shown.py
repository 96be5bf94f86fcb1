"""Workflows, as they are shown: JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.workflow import Workflow

__all__ = ["details_of", "summary_of"]


def summary_of(workflow: Workflow) -> dict[str, Any]:
    """One workflow in a line. Times are of the clock of Redis, in seconds."""
    done = sum(step.state == "done" for step in workflow.steps.values())
    return {
        "id": workflow.id, "status": workflow.status, "why": workflow.why, "done": done, "steps": len(workflow.steps),
        "since_s": workflow.since_s, "ended_s": workflow.ended_s,
    }  # fmt: skip


def details_of(workflow: Workflow) -> dict[str, Any]:
    """All of it. ``waits_for_agents`` are steps that nobody can do now."""
    steps = {
        name: {"do": workflow.spec.steps[name].do, "after": workflow.spec.steps[name].after, **step.model_dump()}
        for name, step in workflow.steps.items()
    }
    return {**summary_of(workflow), "waits_for_agents": workflow.ready(), "steps": steps}
