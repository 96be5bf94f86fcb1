"""The result of a supervised task: waited for as long as it may come, and no longer."""

from __future__ import annotations

import pickle
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery import _state as celery_state
from celery.result import allow_join_result

from hardening import harden, supervised_send
from hardening.core.errors import MessageDied, ReceiptNotFound, ResultTimeout, ResultUnavailable
from hardening.core.membership import boot_clock_s
from hardening.delivery import Receipt
from tests.integration.acting import WORKER, act, meanwhile

if TYPE_CHECKING:
    from pathlib import Path

    from hardening.core.embedded import EmbeddedRedis
    from tests.integration.stage import Stage

pytestmark = pytest.mark.one_server


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where results are kept."""
    path = tmp_path / "results"
    path.mkdir()
    return path


@pytest.fixture
def app(app: Celery, store: Path, stage: Stage) -> Celery:
    """With a result backend; a worker is there."""
    app.conf.update(result_backend=f"file://{store}")
    stage.join(WORKER)
    return app


@pytest.fixture
def receipt(app: Celery) -> Receipt:
    """Of a message that was just sent."""
    return supervised_send("add", app=app)


def end(stage: Stage, receipt: Receipt, queue: str, *acts: str, result: Any = None, state: str = "SUCCESS") -> None:
    """Plays the worker, which stores the result before the last act."""
    act(stage, queue, receipt.id, *acts[:-1])
    receipt.app.backend.store_result(receipt.id, result, state)
    act(stage, queue, receipt.id, *acts[-1:])


def test_a_result_that_is_there_is_returned(stage: Stage, queue: str, receipt: Receipt) -> None:
    """At once, and again."""
    end(stage, receipt, queue, "take", "begin", "ack", result={"sum": 3})
    assert [receipt.result(timeout=0), receipt.result()] == [{"sum": 3}] * 2


def test_a_result_that_comes_is_waited_for(
    server: EmbeddedRedis, prefix: str, queue: str, stage: Stage, receipt: Receipt
) -> None:
    """And had when the message is settled; nobody polls for it."""
    act(stage, queue, receipt.id, "take", "begin")
    begin_s = boot_clock_s()
    with meanwhile(server, prefix, lambda theirs: end(theirs, receipt, queue, "ack", result=7)):
        assert receipt.result(timeout=20) == 7
    assert boot_clock_s() - begin_s < 5


def test_what_the_task_raised_is_raised(stage: Stage, queue: str, receipt: Receipt) -> None:
    """As Celery does."""
    end(stage, receipt, queue, "take", "begin", "bury", result=ValueError("no luck"), state="FAILURE")
    with pytest.raises(ValueError, match="no luck"):
        receipt.result()


def test_a_failure_that_is_being_made_good_is_not_the_result(stage: Stage, queue: str, receipt: Receipt) -> None:
    """An older attempt stored it, the message waits for the next: its dead letter came back."""
    receipt.app.backend.store_result(receipt.id, ValueError("no luck"), "FAILURE")
    with pytest.raises(ResultTimeout) as raised:
        receipt.result(timeout=0.1)
    assert (raised.value.state, raised.value.timeout_s) == ("queued", 0.1)
    act(stage, queue, receipt.id, "take")


@pytest.mark.parametrize("reason", ["purged", "rejected"])
def test_a_message_that_died_unrun_is_not_waited_for(stage: Stage, queue: str, receipt: Receipt, reason: str) -> None:
    """Its task can return nothing."""
    if reason == "purged":
        stage.run(stage.scope.purge(queue, 10))
    else:
        act(stage, queue, receipt.id, "take")
        stage.bury(WORKER, receipt.id, reason)
    with pytest.raises(MessageDied, match=reason):
        receipt.result(timeout=60)


def test_a_message_that_dies_meanwhile_is_told_at_once(
    server: EmbeddedRedis, prefix: str, queue: str, stage: Stage, receipt: Receipt
) -> None:
    """It had crashed its workers, so that nobody stored why: there is a moment for that, and no more."""
    act(stage, queue, receipt.id, "take", "begin")
    with (
        meanwhile(server, prefix, lambda theirs: theirs.bury(WORKER, receipt.id, "crashed")),
        pytest.raises(MessageDied, match="crashed"),
    ):
        receipt.result(timeout=100)


def test_what_was_cancelled_is_dead(receipt: Receipt) -> None:
    """Also where the result backend says REVOKED."""
    assert receipt.cancel()
    with pytest.raises(MessageDied, match="cancelled"):
        receipt.result()


def test_a_result_that_does_not_come_is_not_waited_for_for_ever(stage: Stage, queue: str, receipt: Receipt) -> None:
    """What is known of the message is told."""
    act(stage, queue, receipt.id, "take", "begin")
    with pytest.raises(ResultTimeout, match=r"is started, without a result after 0\.2 s") as raised:
        receipt.result(timeout=0.2)
    assert raised.value.state == "started"


def test_without_a_result_backend_there_is_none(stage: Stage) -> None:
    """Which is said, with the setting that is missing."""
    app = Celery("bare", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.hardening_prefix = stage.prefix
    with pytest.raises(ResultUnavailable, match="set result_backend"):
        Receipt("r", harden(app)).result()


def test_a_task_that_ignores_results_has_none(app: Celery) -> None:
    """Which is known before it has run."""

    @app.task(name="quiet", shared=False, ignore_result=True)
    def quiet() -> None:
        pass

    with pytest.raises(ResultUnavailable, match="quiet ignores results"):
        supervised_send(quiet).result()


def test_a_task_that_was_acknowledged_and_left_none_has_none(stage: Stage, queue: str, receipt: Receipt) -> None:
    """It ignores results, which is known only where it is defined."""
    act(stage, queue, receipt.id, "take", "begin", "ack")
    with pytest.raises(ResultUnavailable, match="was acknowledged and left none"):
        receipt.result(timeout=100)


def test_a_task_that_is_acknowledged_first_is_waited_for(app: Celery, stage: Stage, queue: str) -> None:
    """It still runs when its message has ended."""

    @app.task(name="early", shared=False, acks_late=False)
    def early() -> None:
        pass

    receipt = supervised_send(early)
    act(stage, queue, receipt.id, "take", "begin", "ack")
    later = threading.Timer(1.5, app.backend.store_result, (receipt.id, 5, "SUCCESS"))
    later.start()
    assert receipt.result(timeout=20) == 5
    later.join()


def test_a_receipt_that_expired_still_has_its_result(stage: Stage, queue: str, receipt: Receipt) -> None:
    """The backend keeps it for as long as it likes; where it has none either, there is nothing to follow."""
    end(stage, receipt, queue, "take", "begin", "ack", result=1)
    stage.client.delete(stage.keys.delivery(receipt.id))
    assert receipt.result() == 1
    with pytest.raises(ReceiptNotFound):
        Receipt("nothing", receipt.app).result(timeout=0.1)


def test_a_result_backend_that_is_away_is_waited_for(
    stage: Stage, queue: str, store: Path, receipt: Receipt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as there is time: then it is told that it was that which failed."""
    end(stage, receipt, queue, "take", "begin", "ack", result=1)
    backend = receipt.app.backend

    def gone(_: str) -> None:
        raise OSError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(backend, "get_task_meta", gone)
        with pytest.raises(ResultTimeout, match="could not be asked: OSError: gone"):
            receipt.result(timeout=1.5)
    assert receipt.result() == 1
    shutil.rmtree(store)


def test_inside_a_task_one_does_not_wait_for_another(
    stage: Stage, queue: str, receipt: Receipt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with Celery, unless it is allowed."""
    end(stage, receipt, queue, "take", "begin", "ack", result=1)
    monkeypatch.setattr(celery_state, "_task_join_will_block", True)
    with pytest.raises(RuntimeError, match="within a task"):
        receipt.result()
    assert receipt.result(disable_sync_subtasks=False) == 1
    with allow_join_result():
        assert receipt.result() == 1


@pytest.mark.parametrize("timeout", [-1, float("inf"), float("nan")])
def test_a_timeout_is_a_number_of_seconds(receipt: Receipt, timeout: float) -> None:
    """A bound, that is."""
    with pytest.raises(ValueError, match="timeout is"):
        receipt.result(timeout)


def test_the_time_out_survives_the_way_from_a_pool_process(receipt: Receipt) -> None:
    """With what is known."""
    with pytest.raises(ResultTimeout) as raised:
        receipt.result(0)
    assert vars(pickle.loads(pickle.dumps(raised.value))) == vars(raised.value)  # noqa: S301 - our own bytes
