"""Tasks behind a breaker, in real workers: held back while it is open, and all run when the service has healed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening import supervised_send
from hardening.core.deployment import client_of
from tests.eventually import eventually

if TYPE_CHECKING:
    from celery import Celery

    from hardening import Receipt
    from tests.faults.rig import Rig

TASKS = "tests.faults.breaker_tasks"
CALL = f"{TASKS}.call"
#: How many probes the breaker lets through.
PROBES = 2


def state_of(app: Celery, prefix: str) -> str:
    """What Redis says of the breaker."""
    return (client_of(app).hget(f"{prefix}:breaker:service", "state") or b"closed").decode()  # type: ignore[union-attr]


def trip(rig: Rig, app: Celery) -> int:
    """Has calls fail until the breaker opens, and gives all workers time to know; returns how many failed."""
    rig.ledger.set(f"{rig.prefix}:sick", 1)
    for number in range(4):
        app.send_task(CALL, (f"trip {number}",))
    eventually(lambda: state_of(app, rig.prefix) == "open", 30)
    began = rig.count("began")
    assert rig.stays(lambda: rig.count("began") == began, 0.5)
    return sum(1 for key in rig.count("began") if key.startswith("trip"))


def send_all(app: Celery, keys: list[str]) -> list[Receipt]:
    """Sends a call for each key, with a receipt."""

    @app.task(name=CALL, shared=False)
    def call(_key: str) -> None:
        """Runs in the workers."""

    return [supervised_send(call, (key,)) for key in keys]


@pytest.mark.one_server
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "solo"])
def test_messages_behind_an_open_breaker_wait_and_run_when_the_service_has_healed(rig: Rig, pool: str) -> None:
    """None fails, none is lost, no retry is burned, nothing is charged, and each runs once."""
    for _ in range(2):
        rig.start(pool, 2, tasks=TASKS, faults_open_s="3")
    for worker in rig.workers:
        rig.ready(worker)
    app = rig.producer()
    tripped = trip(rig, app)
    keys = [f"key {number}" for number in range(40)]
    receipts = send_all(app, keys)
    eventually(lambda: {receipt.status() for receipt in receipts} == {"scheduled"}, 20)
    rig.ledger.delete(f"{rig.prefix}:sick")
    rig.await_done(keys, 30)
    ledger = rig.settled()
    began = {key: count for key, count in rig.count("began").items() if key.startswith("key")}
    assert began == dict.fromkeys(keys, 1)
    assert set(rig.count("retries").values()) == {0}
    assert ledger.letters == tripped
    assert not client_of(app).exists(f"{rig.prefix}:crashes")
    eventually(lambda: state_of(app, rig.prefix) == "closed")
    for receipt in receipts:
        states = [change.state.value for change in receipt.history()]
        assert "scheduled" in states
        assert states[-1] == "acked"
    app.close()


@pytest.mark.one_server
def test_runs_that_are_killed_count_and_workers_that_die_while_they_probe_are_replaced(rig: Rig) -> None:
    """Four children die: it opens. Those who probe die in the middle of it: others probe, and it closes."""
    for _ in range(3):  # how often a message dies is no matter here
        rig.start(
            "prefork", 2, tasks=TASKS, faults_open_s="2.5", faults_poll_s="0.2",
            faults_max_crashes="100", faults_crash_delay_s="0.1",
        )  # fmt: skip
    for worker in rig.workers:
        rig.ready(worker)
    app = rig.producer()
    keys = [f"key {number}" for number in range(6)]
    rig.ledger.set(f"{rig.prefix}:lethal", 1)
    for key in keys:
        app.send_task(CALL, (key, 60.0))
    eventually(lambda: state_of(app, rig.prefix) == "open", 20)
    eventually(lambda: rig.stays(lambda: rig.read().scheduled == len(keys), 0.3), 20)
    rig.ledger.delete(f"{rig.prefix}:parents")
    rig.ledger.delete(f"{rig.prefix}:lethal")  # all wait: who begins now is a probe
    eventually(lambda: len(rig.count("parents")) >= PROBES, 20)
    assert client_of(app).zcard(f"{rig.prefix}:breaker:service:probes") == PROBES
    assert rig.stays(lambda: len(rig.count("parents")) == PROBES, 0.5)  # as many as there are probes, no more
    assert rig.done() == 0
    probed_by = set(rig.count("parents").values())
    for worker in rig.workers:
        if worker.process.pid in probed_by:
            rig.kill(worker)
    assert 1 <= rig.kills <= PROBES
    rig.ledger.rpush(f"{rig.prefix}:hold", *range(40))
    rig.await_done(keys, 40)
    eventually(lambda: state_of(app, rig.prefix) == "closed")
    assert rig.settled().letters == 0
    app.close()
