"""Deadlines across real workers, whatever their clocks say, and timeouts that change while workers run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import TaskRevokedError

from dlq import Reason
from hardening.core.deployment import client_of
from hardening.timeouts import deadline, set_timeout, unset_timeout
from tests.eventually import eventually
from tests.faults.rig import _ROOT
from tests.faults.timing import dead, shop_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.rig import Rig, Worker

pytestmark = pytest.mark.one_server

_TASKS = "tests.faults.timeout_tasks"


def _noted(rig: Rig, event: str) -> dict[str, str]:
    stored: dict[Any, Any] = rig.ledger.hgetall(f"{rig.prefix}:{event}:value")
    return {key.decode(): value.decode() for key, value in stored.items()}


def _skewed(rig: Rig, directory: Path, seconds: int, *queues: str) -> Worker:
    """A worker whose wall clock is wrong."""
    where = directory / f"skew{seconds}"
    where.mkdir()
    (where / "sitecustomize.py").write_text(
        f"import time\n_time, _time_ns = time.time, time.time_ns\ntime.time = lambda: _time() + {seconds}\n"
        f"time.time_ns = lambda: _time_ns() + {seconds} * 10**9\n"
    )
    path = f"{where}:{_ROOT}"
    return rig.start("threads", 2, tasks=_TASKS, queues=queues, faults_results="1", pythonpath=path)


def test_a_deadline_goes_through_three_hops_whatever_the_wall_clocks_say(rig: Rig, tmp_path: Path) -> None:
    """Each worker is a minute from the next; each call asks for a minute; the caller gave twenty seconds."""
    queues = [f"{rig.queue}.{hop}" for hop in range(3)]
    with shop_of(rig) as send:
        workers = [_skewed(rig, tmp_path, skew, queue) for skew, queue in zip((60, -60, 120), queues, strict=True)]
        for worker in workers:
            rig.ready(worker)
        with deadline(20, app=send.app):
            result = send("hop", "h", 2, 60.0, queue=queues[2])
        left_s = result.get(timeout=40)
        assert 5 < left_s < 20
        assert len(set(_noted(rig, "deadline").values())) == 1
        lefts = [float(_noted(rig, "left")[f"h {hops}"]) for hops in (2, 1, 0)]
        assert 20 > lefts[0] > lefts[1] > lefts[2] == pytest.approx(left_s)

        with deadline(2, app=send.app):
            nothing = send("hop_into_nothing", "n", queue=queues[2])
        state, _, after = nothing.get(timeout=40).partition(" after ")
        assert state == "queued"
        assert float(after) <= 2
        assert client_of(send.app).llen(f"{rig.queue}.nobody") == 0  # cancelled

        nobody = f"{rig.queue}.nobody"
        with deadline(0.2, app=send.app):
            send("hop", "late", 0, 1.0, queue=nobody)
        with deadline(45, app=send.app):
            early = send("hop", "early", 0, 1.0, queue=f"{nobody}.else")
        rig.ready(_skewed(rig, tmp_path, -90, nobody))  # by its clock there is plenty of time
        rig.ready(_skewed(rig, tmp_path, 90, f"{nobody}.else"))  # and by this one none at all
        eventually(lambda: [letter.reason for letter in dead(rig)] == [Reason.EXPIRED], 30)
        assert 5 < early.get(timeout=30) < 45
    assert "late 0" not in _noted(rig, "left")
    rig.settled()


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_what_came_too_late_is_buried_and_never_begun(rig: Rig, pool: str) -> None:
    """Its neighbour without a deadline runs; whoever waits is told; a replay runs, for that is an operator's word."""
    with shop_of(rig) as send:
        with deadline(0.2, app=send.app):
            late = send("look_up", "late", "x")
        on_time = send("look_up", "on time", "x")
        with deadline(60, app=send.app):
            early = send("look_up", "early", "x")
        assert rig.stays(lambda: True, 0.5)
        rig.ready(rig.start(pool, 2, tasks=_TASKS, faults_results="1"))
        with pytest.raises(TaskRevokedError, match="expired"):
            late.get(timeout=30)
        on_time.get(timeout=30)
        early.get(timeout=30)
        (letter,) = dead(rig)
        assert letter.reason == Reason.EXPIRED
        assert "its deadline was" in letter.error
        assert "late" not in rig.count("began")
        send.letters.replay([letter])
        eventually(lambda: rig.count("began")["late"] == 1)
    rig.settled()


def test_a_change_for_all_reaches_a_running_worker_within_a_second(rig: Rig) -> None:
    """A task that looks again and again, the first lookup of another process, and time limits, there and back."""
    with shop_of(rig) as send:
        limits = f"{_TASKS}.limits"
        rig.ready(rig.start("prefork", 2, tasks=_TASKS, faults_results="1"))
        looking = send("look_up", "k", "network_call.get", 60)
        eventually(lambda: _noted(rig, "timeout").get("k") == "5.0")
        set_timeout("network_call.*", 12, for_all=True, app=send.app)
        assert rig.seconds_until(lambda: _noted(rig, "timeout")["k"] == "12.0", 10) < 1
        set_timeout(limits, 1, for_all=True, app=send.app)
        send("look_up", "first", "network_call.put").get(timeout=20)
        assert _noted(rig, "timeout")["first"] == "12.0"
        send("limits", "l").get(timeout=20)
        assert math.isclose(float(_noted(rig, "limit")["l"]), 1, abs_tol=0.9)
        assert unset_timeout("network_call.*", for_all=True, app=send.app)
        assert rig.seconds_until(lambda: _noted(rig, "timeout")["k"] == "5.0", 10) < 1
        rig.ledger.set(f"{rig.prefix}:gate", 1)
        looking.get(timeout=40)
