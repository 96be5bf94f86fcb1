"""``task_always_eager``: the task runs in the sender, nothing is published, and the receipt knows how it ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Ignore, Reject
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening import harden, supervised_send
from hardening.core.errors import MessageDied, PublishFailed
from hardening.delivery import DeliveryStatus, Receipt


@pytest.fixture
def app() -> Celery:
    """A hardened app that runs its tasks in place; nobody listens where its broker should be."""
    app = Celery("app", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.update(task_always_eager=True)
    return harden(app)


@pytest.fixture
def act(app: Celery) -> Any:
    """A task that does as it is told, and keeps a list of what it was told."""

    @app.task(name="act", shared=False, bind=True, max_retries=1)
    def act(self: Any, how: str) -> None:
        self.told.append(how)
        if how == "retry":
            raise self.retry(exc=ValueError("no luck"))
        raised = {
            "fail": ValueError("no luck"), "reject": Reject("not for me"), "ignore": Ignore(),
            "redis": RedisConnectionError("gone"), "file": FileNotFoundError("no such file"),
        }  # fmt: skip
        if how in raised:
            raise raised[how]

    vars(act)["told"] = []
    return act


@pytest.mark.parametrize("how", ["well", "ignore"])
@pytest.mark.parametrize("confirm", ["queued", "claimed", "started", "acked"])
def test_a_task_that_ran_here_is_acked(act: Any, how: str, confirm: Any) -> None:
    """Before the send returns, whatever it waits for, and without Redis."""
    receipt = supervised_send(act, (how,), confirm=confirm, on_error="raise")
    assert act.told == [how]
    assert receipt.status() is DeliveryStatus.ACKED
    assert [receipt.wait(state, timeout=0.0) for state in ("queued", "claimed", "started", "acked")] == ["acked"] * 4
    details = receipt.details()
    created = datetime.fromtimestamp(int(details.pop("created_ms")) / 1000, UTC)
    assert details == {"task": "act", "task_id": receipt.id, "guarantee": "at_least_once", "state": "acked"}
    assert datetime.now(UTC) - created < timedelta(seconds=10)
    assert [(change.state, change.at, change.worker) for change in receipt.history()] == [("acked", created, "")]


@pytest.mark.parametrize(
    ("how", "reason", "error", "runs"),
    [
        ("fail", "failed", "ValueError: no luck", 1),
        ("reject", "rejected", "Reject: ('not for me', False)", 1),
        ("file", "failed", "FileNotFoundError: no such file", 1),
        ("retry", "failed", "ValueError: no luck", 2),
    ],
)
def test_a_task_that_raised_here_is_dead(act: Any, how: str, reason: str, error: str, runs: int) -> None:
    """There is no dead letter: its receipt has the reason and the error."""
    receipt = supervised_send(act, (how,))
    assert act.told == [how] * runs
    assert receipt.status() is DeliveryStatus.DEAD
    details = receipt.details()
    assert (details["state"], details["reason"], details["error"]) == ("dead", reason, error)
    assert [change.state for change in receipt.history()] == [DeliveryStatus.DEAD]
    with pytest.raises(MessageDied, match=reason):
        receipt.wait("acked", timeout=0.0)


def test_the_result_of_a_task_that_ran_here_is_there(app: Celery, act: Any) -> None:
    """At once, without a result backend; or what it raised."""

    @app.task(name="add", shared=False)
    def add(left: int, right: int) -> int:
        return left + right

    assert supervised_send(add, (1, 2)).result(timeout=0) == 3
    assert supervised_send(act, ("ignore",)).result() is None
    with pytest.raises(ValueError, match="no luck"):
        supervised_send(act, ("fail",)).result()
    with pytest.raises(MessageDied, match="rejected"):
        supervised_send(act, ("reject",)).result()


def test_what_ran_here_cannot_be_cancelled(act: Any) -> None:
    """It has ended."""
    answer = supervised_send(act, ("well",)).cancel()
    assert (answer.outcome, answer.state) == ("too_late", "acked")


def test_a_confirmation_of_what_died_here_is_raised_to_who_asked(act: Any) -> None:
    """As for a message."""
    with pytest.raises(MessageDied, match="failed"):
        supervised_send(act, ("fail",), confirm="acked", on_error="raise")
    assert supervised_send(act, ("fail",), confirm="acked").status() is DeliveryStatus.DEAD


def test_a_signature_runs_here_too(act: Any) -> None:
    """With its own arguments."""
    assert supervised_send(act.s("well")).status() is DeliveryStatus.ACKED
    assert act.told == ["well"]


@pytest.mark.parametrize(
    ("how", "error"), [("fail", ValueError), ("file", FileNotFoundError), ("redis", RedisConnectionError)]
)
@pytest.mark.parametrize("as_signature", [False, True])
def test_what_a_task_raises_here_is_raised_when_it_is_to_propagate(
    app: Celery, act: Any, how: str, error: type[Exception], as_signature: bool
) -> None:
    """As it is, also where it looks like a failed publication; no option of the send hides it."""
    app.conf.update(task_eager_propagates=True)
    with pytest.raises(error):
        supervised_send(act.s(how) if as_signature else act, () if as_signature else (how,), on_error="ignore")
    assert act.told == [how]


@pytest.mark.filterwarnings("ignore:task_always_eager has no effect on send_task")
def test_a_name_is_published_all_the_same(app: Celery, act: Any) -> None:
    """Celery warns of it; where nobody listens it fails."""
    with pytest.raises(PublishFailed):
        supervised_send("act", ("well",), app=app, timeout=0.2, retries=0, on_error="raise")
    assert act.told == []


def test_two_receipts_of_one_message_are_equal_wherever_it_ran(app: Celery) -> None:
    """They follow the same."""
    assert Receipt("a", app) == Receipt("a", app, here={"state": "acked"})
