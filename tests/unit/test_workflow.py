"""Any history of a workflow, beside a naive one."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.unit.workflow_model import Model
from workers.workflow import ENDED, Workflow
from workers.workflow_spec import WorkflowSpec

NAMES = "abcdef"
#: Which of all attempts there ever were, or one that there is not.
WHICH = st.integers(-2, 15)
TIMEOUT_S = 1000.0


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, set[str]], dict[str, int]]:
    """Some steps, each after some of those before it in a random order."""
    order = draw(st.permutations(NAMES))[: draw(st.integers(1, len(NAMES)))]
    after = {name: draw(st.sets(st.sampled_from(order[:at]))) if at else set() for at, name in enumerate(order)}
    return after, {name: draw(st.integers(1, 3)) for name in order}


class Histories(RuleBasedStateMachine):
    """A workflow and its model are told the same."""

    @initialize(graph=graphs())
    def begin(self, graph: tuple[dict[str, set[str]], dict[str, int]]) -> None:
        """Of any shape."""
        after, most = graph
        steps = {
            name: {"do": "x", "after": sorted(before), "max_attempts": most[name]} for name, before in after.items()
        }
        spec = WorkflowSpec.read({"steps": steps, "timeout_s": TIMEOUT_S})
        self.now_s = 1.0
        self.model, self.workflow = Model(after, most), Workflow.of("w", spec, 1.0)
        self.end: dict[str, Any] = {}

    @rule(chance=st.randoms(use_true_random=False))
    def give(self, chance: Any) -> None:
        """To whomever."""
        ready = sorted(self.model.ready())
        if ready:
            step = chance.choice(ready)
            assert self.workflow.give(step, "x", f"r{self.now_s}", self.now_s) == self.model.give(step)

    def _which(self, at: int) -> tuple[str, int]:
        given = [(step, number) for what, step, number in self.model.happened if what == "give"]
        return given[at % len(given)] if given and at >= 0 else (NAMES[at % len(NAMES)], at + 2)

    @rule(at=WHICH)
    def done(self, at: int) -> None:
        """By any attempt, also by one that there is not."""
        step, number = self._which(at)
        assert self.workflow.done(step, number, number, self.now_s) == self.model.done(step, number)

    @rule(at=WHICH, how=st.sampled_from(["failed", "lost", "stalled"]), chance=st.integers(0, 9))
    def fail(self, at: int, how: Any, chance: int) -> None:
        """In any way."""
        (step, number), is_final = self._which(at), not chance
        told = self.workflow.failed(step, number, "why", self.now_s, state=how, is_final=is_final)
        assert told == self.model.failed(step, number, how, is_final=is_final)

    @rule(is_paused=st.booleans())
    def pause(self, *, is_paused: bool) -> None:
        """And goes on."""
        assert self.workflow.turn(is_paused=is_paused) is not bool(self.model.ended)
        self.model.is_paused = is_paused

    @rule(chance=st.integers(0, 9))
    def cancel(self, chance: int) -> None:
        """Not too often."""
        if not chance:
            assert self.workflow.cancel(self.now_s) is not bool(self.model.ended)
            self.model.ended = self.model.ended or "cancelled"

    @rule(more_s=st.sampled_from([1.0, 1.0, 1.0, 400.0]))
    def wait(self, more_s: float) -> None:
        """Time goes on, up to its end."""
        self.now_s += more_s
        is_over = self.now_s > 1.0 + TIMEOUT_S and not self.model.ended
        assert self.workflow.expire(self.now_s) is is_over
        self.model.ended = self.model.ended or ("failed" if is_over else "")

    @invariant()
    def is_as_the_model(self) -> None:
        """What can be given out, what may run, and how it stands."""
        workflow, model = self.workflow, self.model
        paused = "paused" if model.is_paused else "running"
        assert workflow.status == (model.ended or paused)
        assert set(workflow.ready()) == model.ready()
        assert {name for name, step in workflow.steps.items() if step.state == "done"} == set(
            filter(model.is_done, model.after)
        )
        if not self.end:
            waited_for = {(one.step, one.number) for one in workflow.open()}
            assert waited_for == model.open()
        for name, step in workflow.steps.items():
            assert sum(attempt.state == "done" for attempt in step.attempts) == model.is_done(name)
            assert not step.attempts or all(map(model.is_done, model.after[name]))

    @invariant()
    def what_has_ended_changes_no_more(self) -> None:
        """Those who may still be at it are told of once."""
        if self.workflow.status in ENDED:
            if not self.end:
                told = {(one.step, one.number) for one in self.workflow.surplus()}
                assert told == self.model.open()
                self.end = self.workflow.model_dump()
            assert self.workflow.surplus() == []
            assert self.workflow.model_dump() == self.end
            assert not {step.state for step in self.workflow.steps.values()} & {"waiting", "given"}

    def teardown(self) -> None:
        """Whatever has happened, it can be brought to an end."""
        self.workflow.turn(is_paused=False)
        for _ in NAMES:
            for name in self.workflow.ready():
                self.workflow.give(name, "x", "r", self.now_s)
            for one in [*self.workflow.open()]:
                self.workflow.done(one.step, one.number, None, self.now_s)
        assert self.workflow.status in ENDED


def test_any_history_of_a_workflow_is_that_of_the_naive_one() -> None:
    """Done once, after what it is after, and no attempt too many."""
    run_state_machine_as_test(Histories, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))


def _workflow(**step: Any) -> Workflow:
    spec = WorkflowSpec.read({"steps": {"a": {"do": "x", **step}, "b": {"do": "x", "after": ["a"]}}})
    return Workflow.of("w", spec, 100.0)


def test_a_step_gets_the_results_of_those_before_it() -> None:
    """And of no others."""
    workflow = _workflow()
    workflow.give("a", "x", "r", 101.0)
    workflow.done("a", 1, [1], 102.0)
    assert workflow.results("b") == {"a": [1]}
    assert workflow.results("a") == {}


def test_what_stalled_may_still_be_the_first() -> None:
    """Then the second is told that nobody waits for it, once."""
    workflow = _workflow(stall_after_s=10)
    workflow.give("a", "x", "r1", 100.0)
    assert list(workflow.overdue(110.0)) == []
    assert [(one.step, one.number) for one in workflow.overdue(110.1)] == [("a", 1)]
    workflow.failed("a", 1, "slow", 110.1, state="stalled")
    workflow.give("a", "y", "r2", 111.0)
    assert workflow.steps["a"].tried == ["x", "y"]
    assert workflow.surplus() == []
    assert workflow.done("a", 1, "first", 112.0)
    assert not workflow.done("a", 2, "second", 113.0)
    assert [one.attempt.receipt for one in workflow.surplus()] == ["r2"]
    assert workflow.surplus() == []
    assert workflow.steps["a"].result == "first"


def test_why_it_failed_is_one_short_line() -> None:
    """Which names the step, and how often it was tried."""
    workflow = _workflow(max_attempts=1)
    workflow.give("a", "x", "r", 100.0)
    workflow.failed("a", 1, "no " * 1000, 101.0)
    assert workflow.why.startswith("step a failed after 1 attempts: no no")
    assert len(workflow.why) == len(workflow.steps["a"].attempts[0].why) == 300
    assert workflow.ended_s == 101.0


def test_it_fails_when_its_time_is_over() -> None:
    """Not before."""
    workflow = _workflow()
    assert not workflow.expire(100.0 + 86_400.0)
    assert workflow.expire(100.1 + 86_400.0)
    assert workflow.why == "it was not done within 86400 s"


def test_what_happened_while_nobody_knew_the_time_happens_when_it_is_known() -> None:
    """And not in 1970."""
    workflow = Workflow.of("w", _workflow().spec, 0.0)
    assert not workflow.expire(1_000_000.0)
    workflow.stamp(0.0)
    workflow.stamp(1_000_000.0)
    workflow.stamp(2_000_000.0)
    assert (workflow.since_s, workflow.ended_s) == (1_000_000.0, 0.0)
    workflow.cancel(0.0)
    workflow.stamp(1_000_001.0)
    workflow.stamp(1_000_002.0)
    assert workflow.ended_s == 1_000_001.0
