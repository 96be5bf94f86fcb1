"""The tasks of a hardened app: their limits, their acknowledgement, their requests."""

from __future__ import annotations

from typing import Any

import pytest

from hardening import harden
from tests.unit.making import make, task_of, told


def test_two_apps_are_hardened_each_for_itself() -> None:
    """Tasks of one do not take the limits of the other."""
    one, other = make(hardening_time_limit_s=1000), make(hardening_soft_time_limit_s=5)
    harden(one)
    harden(other)
    tasks = [task_of(app) for app in (one, other, make())]
    limits = [(task.time_limit, task.soft_time_limit) for task in tasks]
    assert limits == [(1000, 300), (360, 5), (None, None)]


@pytest.mark.parametrize(
    ("conf", "options", "limits"),
    [
        ({}, {}, (360, 300)),
        ({"hardening_time_limit_s": 50, "hardening_soft_time_limit_s": 40}, {}, (50, 40)),
        ({"task_time_limit": 70, "task_soft_time_limit": 60}, {}, (70, 60)),
        ({}, {"time_limit": 7, "soft_time_limit": 5}, (7, 5)),
        ({}, {"time_limit": None}, (None, 300)),
        ({}, {"time_limit": None, "soft_time_limit": None}, (None, None)),
        ({"task_time_limit": 70}, {"time_limit": None, "soft_time_limit": 3}, (None, 3)),
    ],
)
def test_every_task_has_time_limits_unless_it_says_none(
    conf: dict[str, Any], options: dict[str, Any], limits: tuple[float | None, float | None]
) -> None:
    """Its own first, then the configuration's, then ours."""
    task = task_of(harden(make(**conf)), **options)
    assert (task.time_limit, task.soft_time_limit) == limits


@pytest.mark.parametrize(
    ("options", "acks_late"), [({}, True), ({"acks_late": False}, False), ({"acks_late": True}, True)]
)
def test_a_task_may_opt_out_of_late_acknowledgement(options: dict[str, bool], *, acks_late: bool) -> None:
    """For what must rather be lost than be run twice."""
    assert task_of(harden(make()), **options).acks_late is acks_late


def test_tasks_have_our_requests_and_workers_our_steps() -> None:
    """Also tasks of a base of the user's own."""
    app = harden(make())
    assert task_of(app).Request == "hardening.worker.request:Request"
    assert {step.__name__ for step in (*app.steps["worker"], *app.steps["consumer"])} == {
        "BeginStep",
        "BookStep",
        "KeepStep",
        "MonitorStep",
    }


def test_tasks_that_were_bound_before_are_said() -> None:
    """They keep some of the options they had."""
    app = make()
    task_of(app)
    app.finalize()
    (text,) = told(app)
    assert text.startswith("harden() was called after the tasks of 'shop' were bound")
