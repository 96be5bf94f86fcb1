"""Options of a publication: what there is not is refused by name, and what contradicts itself too."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.app.amqp import AMQP

from hardening.delivery.options import _KNOWN, _OURS, arranged

SOON = datetime(2031, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("que", "queue"), ("prioriti", "priority"), ("count_down", "countdown"), ("expire", "expires"),
        ("metdata", "metadata"), ("timelimit", "time_limit"), ("idempotencykey", "idempotency_key"),
    ],
)  # fmt: skip
def test_an_unknown_option_fails_with_the_near_one(name: str, near: str) -> None:
    """Celery would make it a property of the message that nobody reads."""
    with pytest.raises(TypeError) as raised:
        arranged({name: 1}, delay=None, metadata=None)
    assert str(raised.value) == f"unknown option {name}, did you mean {near}?"


def test_an_option_that_is_like_no_other_fails_with_all_of_them() -> None:
    """There is nothing better to say."""
    with pytest.raises(TypeError, match=r"unknown option zzz, known are: add_to_parent, app, app_id, .*, user_id$"):
        arranged({"zzz": 1}, delay=None, metadata=None)


@pytest.mark.parametrize("name", ["connection", "producer", "publisher"])
def test_nobody_else_publishes(name: str) -> None:
    """The message would have no receipt."""
    with pytest.raises(TypeError, match=f"{name} is not for a supervised send"):
        arranged({name: None}, delay=None, metadata=None)


def test_a_stamp_may_have_any_name() -> None:
    """Where it is named as one."""
    options = {"stamped_headers": ["zzz"], "zzz": 1}
    assert arranged(options, delay=None, metadata=None) == options


def test_every_option_that_celery_names_is_known() -> None:
    """A new one of a later Celery is noticed here."""
    named = set(inspect.signature(Celery.send_task).parameters) | set(inspect.signature(AMQP.as_task_v2).parameters)
    said_here = {"self", "name", "args", "kwargs", "options", "retries", "create_sent_event"}
    renamed = {"callbacks", "errbacks"}  # link and link_error
    assert named - said_here - renamed == named & (_KNOWN | _OURS)


@pytest.mark.parametrize("other", [{"countdown": 3}, {"countdown": 0}, {"eta": SOON}])
def test_a_delay_and_another_due_time_contradict_each_other(other: dict[str, Any]) -> None:
    """Also where they say the same: which one did the sender mean?"""
    ((name, value),) = other.items()
    with pytest.raises(ValueError, match="name one of them") as raised:
        arranged(other, delay=3, metadata=None)
    assert str(raised.value) == f"delay is 3 and {name} is {value!r}: name one of them"


@pytest.mark.parametrize("delay", [-1, -0.1, float("nan"), float("inf"), timedelta(seconds=-1)])
def test_a_delay_that_makes_no_sense_is_a_value_error(delay: Any) -> None:
    """No message is due before it is sent."""
    with pytest.raises(ValueError, match="expected 0 seconds or more"):
        arranged({}, delay=delay, metadata=None)


@pytest.mark.parametrize("delay", ["3", True, SOON])
def test_a_delay_is_a_number_or_a_timedelta(delay: Any) -> None:
    """A time of day is an eta."""
    with pytest.raises(TypeError, match="expected seconds or a timedelta"):
        arranged({}, delay=delay, metadata=None)


def test_the_senders_own_options_stay_as_they_are() -> None:
    """They may be sent again."""
    headers = {"a": 1}
    options = {"headers": headers, "countdown": None}
    assert arranged(options, delay=5, metadata={"b": 2}) == {
        "headers": {"a": 1, "hardening_metadata": {"b": 2}}, "countdown": 5,
    }  # fmt: skip
    assert (options, headers) == ({"headers": headers, "countdown": None}, {"a": 1})
