"""Time limits in a pool of threads: raised in the task alone, and honest about what cannot be ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded

from dlq import Reason
from tests.eventually import eventually
from tests.faults.timing import dead, shop_of

if TYPE_CHECKING:
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server
#: No coverage of these workers, see ``untraced`` in ``tests/unit/test_thread_limits.py``.
UNTRACED: dict[str, Any] = {"coverage_process_start": "", "coverage_process_config": ""}


def test_a_soft_limit_is_raised_in_the_task_and_in_no_other(rig: Rig) -> None:
    """One place: what came too late for one task would hit the next. A hard limit ends whoever heeds no soft one."""
    with shop_of(rig) as send:
        worker = rig.ready(rig.start("threads", 1, tasks="tests.faults.timeout_tasks", **UNTRACED, faults_results="1"))
        spun, tidied, obstinate = send("spin", "s"), send("tidy", "t"), send("obstinate", "o")
        after = [send("look_up", f"after {number}", "x") for number in range(5)]
        with pytest.raises(SoftTimeLimitExceeded):
            spun.get(timeout=30)
        assert tidied.get(timeout=30) == "tidy"
        with pytest.raises(TimeLimitExceeded):
            obstinate.get(timeout=30)
        assert [one.get(timeout=30) for one in after] == [None] * 5
        assert sorted((letter.task.rpartition(".")[2], letter.reason) for letter in dead(rig)) == [
            ("obstinate", Reason.TIMEOUT), ("spin", Reason.FAILED)
        ]  # fmt: skip
    assert rig.count("began")["s"] == rig.count("began")["o"] == 1
    assert set(rig.count("done")) == {"t"}
    log = worker.log.read_text()
    assert "Soft time limit (1s) exceeded" in log
    assert "Hard time limit (2s) exceeded" in log
    assert "lost" not in log
    rig.settled()


def test_a_lost_thread_is_replaced_and_a_worker_that_lost_them_all_ends(rig: Rig) -> None:
    """The message is buried once and never run again; the places are all there; then exit code 75, in seconds."""
    with shop_of(rig) as send:
        worker = rig.ready(rig.start("threads", 2, tasks="tests.faults.timeout_tasks", **UNTRACED, faults_results="1"))
        with pytest.raises(TimeLimitExceeded):
            send("stuck", "one").get(timeout=30)
        eventually(lambda: b"its thread is lost" in worker.log.read_bytes(), 15)
        assert "in stuck" in worker.log.read_text()
        both = [send("gated", f"g{number}", module="tests.faults.tasks") for number in range(2)]
        eventually(lambda: rig.count("began")["g0"] == rig.count("began")["g1"] == 1, 15)
        rig.ledger.set(f"{rig.prefix}:gate", 1)
        for one in both:
            one.get(timeout=30)
        send("stuck", "two")
        assert worker.process.wait(30) == 75
    log = worker.log.read_text()
    assert "as many threads are lost as there are places" in log
    assert "2 lost thread(s) still run" in log
    assert [letter.reason for letter in dead(rig)] == [Reason.TIMEOUT] * 2
    rig.ready(rig.start("threads", 2, tasks="tests.faults.timeout_tasks", **UNTRACED))
    assert rig.settled().counters["dead"] == 2
    assert (rig.count("began")["one"], rig.count("began")["two"]) == (1, 1)


def test_a_worker_that_is_told_to_stop_does_not_wait_for_a_lost_thread(rig: Rig) -> None:
    """Warm: it is gone long before the thread would be."""
    with shop_of(rig) as send:
        worker = rig.ready(rig.start("threads", 2, tasks="tests.faults.timeout_tasks", **UNTRACED))
        send("stuck", "one")
        eventually(lambda: b"its thread is lost" in worker.log.read_bytes(), 20)
        worker.stop(timeout_s=20)
    assert worker.process.returncode == 0
    rig.settled()
