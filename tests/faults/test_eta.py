"""Messages with an ETA are held in Redis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hardening.core.deployment import client_of
from hardening.core.membership import boot_clock_s
from tests.eventually import eventually

if TYPE_CHECKING:
    from tests.faults.rig import Rig


@pytest.mark.one_server
def test_a_thousand_eta_messages_survive_a_restart_and_none_is_early(rig: Rig) -> None:
    """Half come from a hardened producer and half from a stock one; no worker holds any of them."""
    keys = [f"k{number}" for number in range(1000)]
    producer, stock = rig.producer(), rig.stock_producer()
    began_s = boot_clock_s()
    worker = rig.ready(rig.start("threads", 4))
    due = datetime.now(UTC) + timedelta(seconds=6 + 3 * (boot_clock_s() - began_s))  # by when another must be ready
    rig.send(producer, "timed", keys[:500], eta=due)
    rig.send(stock, "timed", keys[500:], eta=due)
    eventually(lambda: rig.read().scheduled == 1000, 30)
    assert rig.read().inflight == 0
    rig.kill(worker)
    rig.ready(rig.start("threads", 4))
    assert rig.read().scheduled == 1000
    rig.await_done(keys, 60)
    ran_at = [int(ms) for ms in rig.ledger.hvals(f"{rig.prefix}:ran_at")]
    due_ms = int(due.timestamp() * 1000)
    assert min(ran_at) >= due_ms
    assert rig.duplicates() == 0
    rig.settled()
    assert client_of(producer).zcard(f"{rig.prefix}:scheduled") == 0
    for app in (producer, stock):
        app.close()


def test_a_short_countdown_is_kept_to_within_a_tick(rig: Rig) -> None:
    """An idle worker wakes for what is due, not at its next poll."""
    producer = rig.producer()
    rig.ready(rig.start("threads", 1))
    client = client_of(producer)
    seconds, micros = client.time()
    rig.send(producer, "timed", ["soon"], countdown=1.3)
    rig.await_done(["soon"], 10)
    late_ms = int(rig.ledger.hget(f"{rig.prefix}:ran_at", "soon") or 0) - (seconds * 1000 + micros // 1000) - 1300
    assert 0 <= late_ms < 400
    producer.close()
