"""The pure parts of the long fault test: what it plans, how it judges, what it reports."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.chaos_faults import mark_disturbed
from tests.faults.chaos_plan import KILLS_A_ROUND, Kind, RoundPlan
from tests.faults.chaos_report import OtherRunError, Outcome, Report, percentile
from tests.faults.chaos_verdict import Dead, Fault, Run, Sent, judge, ran_early, read_runs, tell_duplicates

if TYPE_CHECKING:
    from pathlib import Path

POOLS = ("prefork", "threads", "solo")
W = 71  # the pid of a worker
HEIR = 72


def _sent(key: str = "m1", task: str = "run", **more: Any) -> Sent:
    about = {"at_s": 1.0, "done_s": 1.0, "due_s": 1.0, "supervised": False, "accepted": True}
    return Sent(key, task, **{**about, **more})


def _kill(at_s: float, concurrency: int = 2) -> Fault:
    return Fault(Kind.KILL, at_s, at_s, "w1 prefork:2", W, concurrency)


def _twice(key: str, began_s: float = 9.0, ended_s: float | None = None) -> list[Run]:
    return [Run(key, W, began_s, ended_s), Run(key, HEIR, 13.0, 13.1)]


# -- plan


def test_a_plan_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    """So that a run can be repeated, and resumed."""
    plans = [RoundPlan.draw(seed, number, kills=50, pools=POOLS) for seed in (1, 1, 2) for number in (1, 2)]
    assert plans[:2] == plans[2:4]
    assert len({plan.seed for plan in plans}) == len({plan.faults for plan in plans}) == 4


@pytest.mark.parametrize(("left", "kills"), [(500, KILLS_A_ROUND), (3, 3)])
def test_a_plan_uses_its_share_of_kills_and_no_more(left: int, kills: int) -> None:
    """The last round has what is left."""
    assert {RoundPlan.draw(seed, 1, kills=left, pools=POOLS).kills for seed in range(30)} == {kills}


def test_redis_is_killed_in_every_other_round() -> None:
    """Only there does it keep a file."""
    plans = [RoundPlan.draw(seed, number, kills=9, pools=POOLS) for seed in range(20) for number in (1, 2)]
    killed = {(plan.number, plan.aof, Kind.REDIS in {fault.kind for fault in plan.faults}) for plan in plans}
    assert killed == {(1, False, False), (2, True, True)}


def test_children_are_killed_only_where_there_are_any() -> None:
    """The other pools have none."""
    plans = [RoundPlan.draw(seed, 1, kills=9, pools=("threads", "solo")) for seed in range(20)]
    assert Kind.KILL_CHILD not in {fault.kind for plan in plans for fault in plan.faults}


def test_the_control_arm_only_kills() -> None:
    """And sends no poison."""
    plans = [RoundPlan.draw(seed, 2, kills=9, pools=POOLS, stock=True) for seed in range(20)]
    assert {fault.kind for plan in plans for fault in plan.faults} == {Kind.KILL, Kind.KILL_CHILD}
    assert not any(plan.aof or plan.poison for plan in plans)


# -- what became of messages


def test_runs_are_read_from_the_record() -> None:
    """One that only began has no end."""
    records = [["a", "began", "m1", W, 2.0], ["b", "began", "m2", W, 1.0], ["a", "ended", "m1", W, 3.0]]
    assert read_runs(json.dumps(record).encode() for record in records) == [Run("m2", W, 1.0), Run("m1", W, 2.0, 3.0)]


def test_messages_that_ended_as_they_should_are_in_order() -> None:
    """Done, or dead for the right reason, or never accepted; a bystander may be dead of three crashes."""
    sent = [_sent("m1"), _sent("m2", "fail"), _sent("m3", "kill_child"), _sent("m4"), _sent("m5", accepted=False)]
    dead = [Dead("m2", "failed", 0), Dead("m3", "crashed", 3), Dead("m4", "crashed", 3)]
    assert judge(sent, [Run("m1", W, 1.0, 2.0), Run("m2", W, 1.0, 2.0)], dead) == {}


@pytest.mark.parametrize(
    ("message", "runs", "dead", "wrong"),
    [
        (_sent(), [], [], "run lost: never begun"),
        (_sent(), [Run("m1", W, 1.0)], [], "run lost: begun"),
        (_sent(task="fail"), [Run("m1", W, 1.0, 2.0)], [], "fail lost: ended"),
        (_sent(task="kill_child"), [Run("m1", W, 1.0)], [], "kill_child lost: begun"),
        (_sent(), [Run("m1", W, 1.0)], [Dead("m1", "failed", 0)], "run buried: failed"),
        (_sent(task="kill_worker"), [], [Dead("m1", "crashed", 2)], "buried after 2 crashes"),
    ],
)
def test_messages_that_came_to_no_proper_end_are_told(
    message: Sent, runs: list[Run], dead: list[Dead], wrong: str
) -> None:
    """With how far they came."""
    assert judge([message], runs, dead) == {"m1": wrong}


def test_a_run_before_its_time_is_told() -> None:
    """By more than clocks differ."""
    sent = [_sent("m1", due_s=5.0), _sent("m2", due_s=5.0)]
    assert ran_early(sent, [Run("m1", W, 4.9), Run("m2", W, 4.999)]) == ["m1"]


# -- duplicates


def test_a_kill_answers_for_as_many_duplicates_as_its_victim_ran_tasks() -> None:
    """One more is over bound, and told with its runs."""
    faults = [_kill(10.0, concurrency=2)]
    keys = ["m1", "m2", "m3"]
    told = tell_duplicates([_sent(key) for key in keys], [run for key in keys for run in _twice(key)], faults)
    assert (told.total, faults[0].duplicates, len(told.unexplained)) == (3, 2, 1)
    assert told.unexplained[0] == (
        "m3 (run, sent 1.000): worker 71 9.000-?, worker 72 13.000-13.100; kill of 71 10.000-10.000"
    )


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.KILL, 10.0, 10.0, "w2", HEIR, 2),
        Fault(Kind.KILL, 12.0, 12.0, "w1", W, 2),
        Fault(Kind.WARM, 10.0, 10.0, "w1", W, 2),
        Fault(Kind.CUT, 10.0, 10.0, "w1", W, 2),
    ],
    ids=["another worker", "long after the end", "warm restart", "cut"],
)
def test_a_fault_does_not_answer_for_what_it_cannot_have_caused(fault: Fault) -> None:
    """The run ended a moment before, on its worker, in a way that repeats nothing."""
    told = tell_duplicates([_sent()], _twice("m1", 8.9, 9.0), [fault])
    assert (told.total, fault.duplicates, len(told.unexplained)) == (1, 0, 1)


def test_a_run_that_ended_in_an_outage_may_be_unsettled_when_its_worker_is_killed() -> None:
    """It could not be acknowledged before."""
    outage, kill = Fault(Kind.REDIS, 8.5, 10.0), _kill(14.0)
    told = tell_duplicates([_sent()], _twice("m1", 8.0, 8.9), [outage, kill])
    assert (told.unexplained, kill.duplicates) == ([], 1)


def test_faults_are_charged_so_that_as_few_duplicates_as_possible_are_left_over() -> None:
    """The first kill could answer for either, the second for one alone."""
    early, late = _kill(10.0, concurrency=1), _kill(11.5, concurrency=1)
    runs = [*_twice("m1", 9.0, 9.9), *_twice("m2", 9.0, 9.0)]
    assert tell_duplicates([_sent("m1"), _sent("m2")], runs, [early, late]).unexplained == []
    assert (early.duplicates, late.duplicates) == (1, 1)


def test_what_ran_at_the_fault_is_charged_to_it_before_what_did_not() -> None:
    """So that what is left over is what needs an explanation."""
    runs = [*_twice("m1", 8.9, 9.0), *_twice("m2", 9.9, None)]
    told = tell_duplicates([_sent("m1"), _sent("m2")], runs, [_kill(10.0, concurrency=1)])
    assert [text.split()[0] for text in told.unexplained] == ["m1"]


def test_what_a_worker_begins_on_waking_is_within_the_bound_but_told() -> None:
    """It had run elsewhere meanwhile."""
    freeze = Fault(Kind.FREEZE, 10.0, 13.0, "w1", W, 2)
    told = tell_duplicates([_sent()], [Run("m1", HEIR, 12.5, 12.6), Run("m1", W, 13.01, 13.1)], [freeze])
    assert (told.unexplained, freeze.duplicates, len(told.on_waking)) == ([], 1, 1)


def test_a_plain_send_in_an_outage_may_have_been_repeated_once_a_supervised_one_may_not() -> None:
    """Its receipt tells a repeat apart."""
    outage = Fault(Kind.REDIS, 0.5, 1.5)
    sent = [_sent("m1"), _sent("m2", supervised=True)]
    told = tell_duplicates(sent, [*_twice("m1", 2.0, 2.1), *_twice("m2", 2.0, 2.1)], [outage])
    assert (told.total, told.resent, len(told.unexplained)) == (2, 1, 1)


def test_poison_runs_three_times_by_rights() -> None:
    """A fourth time needs a reason."""
    runs = [Run("m1", W, float(began_s)) for began_s in range(20, 24)]
    assert tell_duplicates([_sent(task="kill_child")], runs[:3], []).total == 0
    assert len(tell_duplicates([_sent(task="kill_child")], runs, []).unexplained) == 1


def test_a_recovery_is_disturbed_by_what_happens_before_it_is_over() -> None:
    """Whoever lost Redis declares nobody dead for a while."""
    calm, disturbed = _kill(10.0), _kill(50.0)
    calm.recovery_s = disturbed.recovery_s = 2.0
    mark_disturbed([calm, disturbed, Fault(Kind.CUT, 51.0, 51.0, "w2", HEIR, 2)])
    assert (calm.disturbed, disturbed.disturbed) == (False, True)


# -- report


def _outcome(number: int = 1, recovery_s: float | None = 2.0, **more: Any) -> Outcome:
    fault = _kill(10.0)
    fault.recovery_s = recovery_s
    return Outcome(number=number, crews=["solo:1"], faults=[{**asdict(fault), "bound": fault.bound}], **more)


def test_a_report_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Everything in it comes back, and rounds are counted."""
    path = tmp_path / "report.json"
    report = Report(1, {"pools": ["solo"]}, [_outcome(wrong={"m1": "run lost: begun"})])
    report.save(path)
    resumed = Report.resume(path, 1, {"pools": ["solo"]})
    assert resumed == report
    assert (resumed.kills, resumed.is_bad) == (1, True)
    assert [left.name for left in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(("seed", "pools"), [(2, "solo"), (1, "threads")])
def test_the_report_of_another_run_is_not_overwritten(tmp_path: Path, seed: int, pools: str) -> None:
    """It may have taken hours."""
    path = tmp_path / "report.json"
    Report(1, {"pools": ["solo"]}).save(path)
    with pytest.raises(OtherRunError, match=r"report\.json is of a run with seed 1"):
        Report.resume(path, seed, {"pools": [pools]})


@pytest.mark.parametrize(
    "more",
    [
        {"wrong": {"m1": "run lost: begun"}}, {"over_bound": ["m1"]}, {"is_balanced": False},
        {"imbalances": ["1.0"]}, {"inflight": 1}, {"is_broken": True},
    ],
    ids=lambda more: next(iter(more)),
)  # fmt: skip
def test_a_round_is_bad_when_something_was_lost_unbalanced_or_over_bound(more: dict[str, Any]) -> None:
    """Anything else is odd at most."""
    assert Report(1, {}, [_outcome(), _outcome(2, **more)]).is_bad
    assert not Report(1, {}, [_outcome(findings=["a worker did not stop"])]).is_bad


def test_complaints_name_the_round_and_where_its_logs_are() -> None:
    """One line for each thing to look into."""
    report = Report(1, {}, [_outcome(wrong={"m1": "run lost: begun"}, findings=["deaf"], evidence="/logs")])
    assert report.complaints() == ["round 1: m1: run lost: begun [/logs]", "round 1: deaf [/logs]"]


def test_the_verdict_is_one_line_with_the_numbers_that_matter() -> None:
    """Good or bad comes first."""
    rounds = [_outcome(number, float(number), sent=10, duplicates=1) for number in range(1, 6)]
    verdict = Report(1, {}, rounds).verdict(kills=5)
    assert verdict.startswith("GOOD: 5 of 5 kills in 5 rounds; 50 sent; 0 wrong; 5 duplicates of at most 10;")
    assert "recovery p50, p95, max: 3.00 s, 5.00 s, 5.00 s, 1 late;" in verdict


@pytest.mark.parametrize(("percent", "value"), [(50, 2.0), (95, 4.0), (0, 1.0), (100, 4.0)])
def test_percentiles_are_values_that_were_measured(percent: int, value: float) -> None:
    """Nothing in between; of nothing there is none."""
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == value
    assert percentile([], percent) is None
