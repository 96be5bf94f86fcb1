"""The result backend is told of what a sweep buried, by the app, and by its copies in other processes."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import WorkerLostError

from hardening import harden
from hardening.core.deployment import is_hardened, settings_of
from hardening.worker.results import FailBuried
from tests.unit.making import make, told

if TYPE_CHECKING:
    from celery import Celery


@pytest.fixture
def app() -> Celery:
    """A hardened app with settings of its own and a result backend in memory."""
    return harden(make(hardening_prefix="shop", hardening_lease_ttl_s=7.0, result_backend="cache+memory://"))


def _buried(task_id: str) -> bytes:
    return json.dumps({"body": "", "headers": {"id": task_id, "task": "t"}, "properties": {}}).encode()


def _copy(what: Any) -> Any:
    """As a spawned process gets it."""
    return pickle.loads(pickle.dumps(what))  # noqa: S301 - our own bytes, of a moment ago


def test_the_configuration_of_a_hardened_app_can_be_pickled(app: Celery) -> None:
    """A pool that spawns its processes sends them the app."""
    copy = _copy(app.conf.changes)
    options, copied = app.conf.broker_transport_options, copy["broker_transport_options"]
    assert isinstance(copied.pop("on_buried"), FailBuried)
    assert copied == {name: value for name, value in options.items() if name != "on_buried"}
    assert copy["task_acks_late"] is True


def test_a_hardened_app_can_be_pickled_and_hardened_again(app: Celery) -> None:
    """Its copy has the same settings, and hardening it overrides nothing."""
    copy = _copy(app)
    assert not is_hardened(copy)
    assert told(copy) == []
    assert settings_of(copy) == settings_of(app)
    assert copy.conf.broker_transport == app.conf.broker_transport


def test_the_waiting_are_told_by_the_app_that_was_hardened(app: Celery) -> None:
    """Whichever app is current."""
    app.conf.broker_transport_options["on_buried"](_buried("task-1"))
    result = app.AsyncResult("task-1")
    assert result.state == "FAILURE"
    assert isinstance(result.result, WorkerLostError)


def test_a_copy_tells_the_app_that_is_current(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not taken the app along."""
    monkeypatch.setattr("hardening.worker.results.current_app", app)
    _copy(app.conf.broker_transport_options["on_buried"])(_buried("task-2"))
    assert app.AsyncResult("task-2").state == "FAILURE"


def test_what_cannot_be_read_is_told_to_nobody(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no task id to tell of."""
    marked: list[str] = []
    monkeypatch.setattr(app.backend, "mark_as_failure", lambda task_id, *_, **__: marked.append(task_id))
    for raw in (b"{", b'{"headers": 3}', b"[" * 100_000, _buried("task-3")):
        FailBuried(app)(raw)
    assert marked == ["task-3"]
