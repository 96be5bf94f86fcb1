"""The tasks of a hardened app: their limits, their acknowledgement, their requests."""

from __future__ import annotations

from typing import Any

import pytest

from hardening import harden
from hardening.core.deployment import settings_of
from hardening.timeouts import set_timeout
from hardening.timeouts.lookup import timeouts_of
from hardening.worker.limits import effective, from_table
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
        "LoopStep",
        "MonitorStep",
    }


def test_tasks_that_were_bound_before_are_said() -> None:
    """They keep some of the options they had."""
    app = make()
    task_of(app)
    app.finalize()
    (text,) = told(app)
    assert text.startswith("harden() was called after the tasks of 'shop' were bound")


def _limits(app: Any, task: Any, message: tuple[Any, Any] = (None, None)) -> tuple[Any, Any]:
    """What a worker applies to a request, as (hard, soft)."""
    soft_s = timeouts_of(app).table.rules.limit_s(task.name)
    limits = message if soft_s is None else from_table(message, task, soft_s, settings_of(app))
    hard, soft = effective(limits, task)
    return hard or task.time_limit, soft or task.soft_time_limit


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({}, (36, 30)),
        ({"time_limit": 7, "soft_time_limit": 5}, (7, 5)),
        ({"soft_time_limit": 200}, (360, 200)),
        ({"time_limit": None}, (None, 300)),
    ],
)
def test_a_rule_that_is_about_a_task_is_its_limit_unless_it_has_its_own(
    options: dict[str, Any], limits: tuple[Any, Any]
) -> None:
    """The hard limit stands to the soft one as in the settings."""
    app = harden(make(hardening_timeouts={"t": "long"}))
    assert _limits(app, task_of(app, **options)) == limits


def test_limits_follow_the_table_the_sender_and_whoever_sets_them_later() -> None:
    """What nobody is about keeps the defaults; a short limit leaves at least a second to end in."""
    app = harden(make(hardening_timeouts={"other": 3}, hardening_timeout_factor=2))
    task = task_of(app)
    assert _limits(app, task) == (360, 300)
    set_timeout("service:t", 0.5, app=app)
    assert _limits(app, task) == (2, 1)
    assert _limits(app, task, (9, 8)) == (9, 8)
    assert _limits(app, task, (9, None)) == (9, 9)  # below the soft limit by default
    task.soft_time_limit = 100  # as remote control does
    assert _limits(app, task) == (360, 100)


def test_an_annotation_is_the_tasks_own_limit() -> None:
    """Celery applies it after ours."""
    app = harden(make(hardening_timeouts={"t": "long"}, task_annotations={"t": {"soft_time_limit": 11}}))
    assert _limits(app, task_of(app)) == (360, 11)


@pytest.mark.parametrize(("options", "said"), [({}, (None, None)), ({"time_limit": 7, "soft_time_limit": 5}, (7, 5))])
def test_messages_say_only_what_a_task_says_itself(options: dict[str, Any], said: tuple[Any, Any]) -> None:
    """Defaults are for the worker to know."""
    task = task_of(harden(make()), **options)
    for _ in range(2):
        told = task._get_exec_options()
        assert (told["time_limit"], told["soft_time_limit"]) == said
