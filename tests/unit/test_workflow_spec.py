"""Workflows that cannot work are refused, and whoever asked is told all that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from workers.workflow_spec import LARGEST_SPEC, MOST_STEPS, WorkflowSpec


def test_one_step_is_a_workflow() -> None:
    """With what is assumed."""
    spec = WorkflowSpec.read({"steps": {"a": {"do": "x"}}})
    step = spec.steps["a"]
    assert (spec.id, spec.timeout_s, spec.notify) == ("", 86_400.0, "")
    assert (step.max_attempts, step.stall_after_s, step.when_stalled, step.after) == (3, 300.0, "reassign", [])


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"steps": {"a": {"do": "x", "after": ["b"]}}}, "step 'a' is after 'b', which is no step of it"),
        ({"steps": {"a": {"do": "x", "after": ["a"]}}}, "its steps wait for each other: a > a"),
        ({"steps": {"a": {"do": "x", "args": ["y" * LARGEST_SPEC]}}}, "expected 32768 at most"),
        ({"steps": {}}, "steps: dictionary should have at least 1 item"),
        ({"steps": {str(n): {"do": "x"} for n in range(MOST_STEPS + 1)}}, "at most 100 items"),
        ({"steps": {"a b": {"do": "x"}}}, "steps.a b.[key]: string should match"),
        ({"steps": {"a": {}}}, "steps.a.do: field required"),
        ({"steps": {"a": {"do": "x", "atfer": []}}}, "steps.a.atfer: extra inputs are not permitted"),
        ({"steps": {"a": {"do": "x", "max_attempts": 11}}}, "steps.a.max_attempts: input should be less than"),
        ({"steps": {"a": {"do": "x", "stall_after_s": 0}}}, "steps.a.stall_after_s: input should be greater than 0"),
        ({"steps": {"a": {"do": "x", "when_stalled": "cry"}}}, "'reassign', 'fail' or 'report'"),
        ({"steps": {"a": {"do": "x"}}, "timeout_s": -1}, "timeout_s: input should be greater than 0"),
        ({"steps": {"a": {"do": "x"}}, "id": "a b"}, "id."),
        ({"steps": {"a": {"do": "x"}}, "notify": "a:b"}, "an agent is named 'a:b'"),
        ("steps", "expected {'steps': {...}}, got str"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(said: Any, wrong: str) -> None:
    """With the place."""
    with pytest.raises(ValueError, match=r"\w") as raised:
        WorkflowSpec.read(said)
    assert wrong in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_cycle_is_told_by_its_steps() -> None:
    """In the order in which they wait."""
    steps = {"a": {"do": "x", "after": ["b"]}, "b": {"do": "x", "after": ["c"]}, "c": {"do": "x", "after": ["a"]}}
    with pytest.raises(ValueError, match=r"wait for each other: (\w) > \w > \w > \1$"):
        WorkflowSpec.read({"steps": steps})


def test_no_more_is_told_than_one_reads() -> None:
    """Five faults, and how many there are more."""
    with pytest.raises(ValueError, match=r"^(steps\.\d\.do: field required; ){5}and 3 more$"):
        WorkflowSpec.read({"steps": {str(n): {} for n in range(8)}})
