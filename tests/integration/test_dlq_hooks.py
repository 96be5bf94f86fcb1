"""Hooks on burial, tasks that want no dead letters, and who hears of it."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dlq import DeadLetters, on_bury
from hardening.core import telemetry
from hardening.core.deployment import settings_of
from hardening.core.scripts import Death
from hardening.transport.recovery import Recoverer
from tests.eventually import eventually
from tests.integration.graveyard import Graveyard

if TYPE_CHECKING:
    import pytest
    from redis import Redis

    from hardening.core.keys import Keys
    from tests.undertaker import Undertaker


def test_a_hook_gets_the_bytes_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody has parsed them, no log shows them, and a hook that raises harms nobody."""
    raw = b"\xff not even text"
    seen: list[bytes] = []

    def fail(_: telemetry.MessageBuried) -> None:
        raise RuntimeError("hook")

    subscriptions = [
        on_bury(fail), on_bury(lambda event: seen.append(event.raw)), telemetry.log_events("hardening.message")
    ]  # fmt: skip
    try:
        with caplog.at_level(logging.INFO, "hardening"):
            telemetry.emit(
                telemetry.MessageBuried(message="m", task="", queue="q", reason="failed", error="token=x", raw=raw)
            )
    finally:
        for subscription in subscriptions:
            telemetry.detach(subscription)
    assert seen == [raw]
    assert caplog.messages == [
        "hardening.message.buried message=m task='' queue=q reason=failed error=token=*** entry=''"
    ]


def test_what_is_dropped_is_dead_and_counted(undertaker: Undertaker, letters: DeadLetters) -> None:
    """The ledger balances, and a receipt hears of the death."""
    (message,) = _taken(undertaker)
    death = Death("failed", "ValueError: no", is_kept=False)
    call = undertaker.scope.bury(undertaker.consumer, message, death)
    assert call.run(undertaker.client) == 1
    assert len(letters) == 0
    assert undertaker.check().counters == {"published": 1, "dead": 1, "dropped": 1}


def _taken(undertaker: Undertaker) -> list[int]:
    undertaker.app.send_task("shop.charge")
    return [message.seq for message in undertaker.take()]


def test_what_was_acked_before_can_be_dropped_too(client: Redis, keys: Keys) -> None:
    """The ack is taken back, the death is counted."""
    graveyard = Graveyard(client, keys)
    death = Death("failed", is_kept=False)
    assert graveyard.letters.scope.bury("w", 0, death, list_key="q", raw=b"x").run(client) == 1
    assert graveyard.check() == {"acked": -1, "dead": 1, "dropped": 1}


def test_a_hook_gets_the_queue_and_the_letter_of_what_a_sweep_buried(undertaker: Undertaker) -> None:
    """The consumer that ran it is gone; whoever sweeps tells of it, once for each message."""
    told: list[telemetry.MessageBuried] = []
    failed: list[bytes] = []
    undertaker.app.send_task("shop.charge", priority=6)
    undertaker.app.send_task("mail.send")
    taken = undertaker.take()
    undertaker.begin(taken)
    undertaker.client.zadd(undertaker.keys.leases, {undertaker.consumer: 1})
    settings = settings_of(undertaker.app).model_copy(update={"max_crashes": 1})
    lease: Any = SimpleNamespace(consumer="sweeper", is_steady=lambda: True)
    sweeper = Recoverer(undertaker.client, undertaker.scope, settings, lease=lease, on_buried=failed.append)
    subscription = on_bury(told.append)
    try:
        assert sweeper.run_once() == 2
        eventually(lambda: len(failed) == 2)
    finally:
        telemetry.detach(subscription)
    letters = DeadLetters.of(undertaker.app)
    assert [(one.queue, one.task, one.reason) for one in told] == [
        (undertaker.queue, letters.get(one.entry).task, "crashed") for one in told
    ]
    assert {one.entry: one.raw for one in told} == {entry.id: entry.raw for entry in letters.select()}
    assert sorted(one.task for one in told) == ["mail.send", "shop.charge"]
    undertaker.check()
