"""``celery -A app hardening cancel``: one line that says what happened, and an exit code that says whether."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening import supervised_send
from tests.integration.acting import WORKER, act
from tests.integration.cli import hardening

if TYPE_CHECKING:
    from celery import Celery

    from tests.integration.stage import Stage

pytestmark = pytest.mark.one_server


def test_what_waits_is_cancelled_once(app: Celery) -> None:
    """The second time it is said that it had been."""
    receipt = supervised_send("add", app=app)
    first, second = hardening(app, "cancel", receipt.id), hardening(app, "cancel", receipt.id)
    assert (first.exit_code, first.stdout) == (0, "removed: it was in the queue, and will not run\n")
    assert (second.exit_code, second.stdout) == (
        0,
        "removed: it was in the queue, and will not run, before this call\n",
    )


@pytest.mark.parametrize(
    ("acts", "said"),
    [
        ("take begin", "started; its worker was sent a revoke, so that it is not retried"),
        ("take begin ack", "acked"),
        ("take bury", "dead; see `celery dlq`"),
    ],
)
def test_what_cannot_be_cancelled_any_more_is_an_error(
    app: Celery, stage: Stage, queue: str, acts: str, said: str
) -> None:
    """With the state that is in the way."""
    stage.join(WORKER)
    receipt = supervised_send("add", app=app)
    act(stage, queue, receipt.id, *acts.split())
    result = hardening(app, "cancel", receipt.id)
    assert (result.exit_code, result.stdout) == (1, f"too late: it is {said}\n")


def test_what_is_not_known_is_said_in_one_line(app: Celery, stage: Stage, queue: str) -> None:
    """No such receipt; a worker that does not answer."""
    result = hardening(app, "cancel", "no\nsuch")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "never written, or expired" in result.stderr
    stage.join(WORKER)
    receipt = supervised_send("add", app=app)
    act(stage, queue, receipt.id, "take")
    result = hardening(app, "cancel", receipt.id, "--timeout", "0.3")
    assert result.exit_code == 1
    assert "is claimed, not cancelled, after 0.3 s" in result.stderr
    assert hardening(app, "cancel", receipt.id, "--timeout", "0").exit_code == 2
