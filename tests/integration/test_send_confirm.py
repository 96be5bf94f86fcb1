"""Sends that wait until their message has got somewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hardening import supervised_send
from hardening.core.errors import ConfirmTimeout, MessageDied
from hardening.core.membership import boot_clock_s
from tests.integration.acting import ACTS, WORKER, act, meanwhile

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core.embedded import EmbeddedRedis
    from tests.integration.stage import Stage

pytestmark = pytest.mark.one_server


@pytest.mark.parametrize("confirm", ["claimed", "started", "acked"])
def test_a_send_can_wait_for_its_message(
    app: Celery, server: EmbeddedRedis, prefix: str, queue: str, confirm: Any
) -> None:
    """And returns when it has got there."""

    def work(stage: Stage) -> None:
        stage.join(WORKER)
        act(stage, queue, "the-task", *ACTS)

    with meanwhile(server, prefix, work):
        receipt = supervised_send("add", app=app, confirm=confirm, timeout=20, task_id="the-task")
    assert confirm in [change.state for change in receipt.history()]


@pytest.mark.parametrize("on_error", ["dead_letter", "log", "ignore", "raise"])
def test_a_send_that_is_not_confirmed_in_time_is_safe(
    app: Celery, stage: Stage, on_error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is on the queue, and the receipt follows it: an error only to whoever asked for one."""
    began_s = boot_clock_s()
    if on_error == "raise":
        with pytest.raises(ConfirmTimeout):
            supervised_send("add", app=app, confirm="acked", timeout=0.1, on_error=on_error)
    else:
        assert supervised_send("add", app=app, confirm="acked", timeout=0.1, on_error=on_error).status() == "queued"
    assert 0.08 < boot_clock_s() - began_s < 2
    assert ["not acked, after" in message for message in caplog.messages] == ([True] if on_error == "log" else [])
    assert stage.ledger().counters == {"published": 1}


def test_a_send_whose_message_died_says_so_if_asked(
    app: Celery, server: EmbeddedRedis, prefix: str, queue: str
) -> None:
    """Before it was done."""

    def die(stage: Stage) -> None:
        stage.join(WORKER)
        act(stage, queue, "the-task", "take", "bury")

    with meanwhile(server, prefix, die), pytest.raises(MessageDied):
        supervised_send("add", app=app, confirm="acked", timeout=20, on_error="raise", task_id="the-task")
