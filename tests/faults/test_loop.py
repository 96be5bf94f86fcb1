"""A worker whose loop hangs while its lease is renewed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.eventually import eventually
from tests.integration.cli import hardening

if TYPE_CHECKING:
    from celery import Celery

    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server

_TASKS = "tests.faults.loop_tasks"


def _asked(app: Celery) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(hardening(app, "health", "--max-silence", "3", "--json").stdout)
    return told


def test_a_worker_whose_loop_hangs_is_not_well(rig: Rig) -> None:
    """Whatever its lease says, which a thread renews."""
    rig.start("threads", 1, tasks=_TASKS)
    app = rig.producer()
    eventually(lambda: [one for one in _asked(app)["consumers"] if one["silent_s"] is not None], 30)
    assert _asked(app)["healthy"]
    app.send_task(f"{_TASKS}.stop_the_loop")
    eventually(lambda: not _asked(app)["healthy"], 20)
    (one,) = _asked(app)["consumers"]
    assert one["lease_s"] > 0


def test_the_loop_of_a_solo_pool_is_not_asked(rig: Rig) -> None:
    """It is silent while a task runs, as it should be."""
    rig.start("solo", tasks=_TASKS)
    app = rig.producer()
    eventually(lambda: _asked(app)["healthy"], 30)
    (one,) = _asked(app)["consumers"]
    assert one["silent_s"] is None
