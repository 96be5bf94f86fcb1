"""``celery -A app hardening detach``: the way out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from hardening import harden
from hardening.cli.census import take_census
from tests.eventually import eventually
from tests.integration.cli import hardening, send
from tests.undertaker import STEP_6, Undertaker

if TYPE_CHECKING:
    from pathlib import Path

    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server


@pytest.fixture
def steady(app: Celery, undertaker: Undertaker) -> None:
    """Redis has been up for longer than a lease."""
    lease_ttl_s = app.conf.hardening_lease_ttl_s
    eventually(lambda: undertaker.client.info("server")["uptime_in_seconds"] >= lease_ttl_s)


@pytest.mark.usefixtures("steady")
def test_detach_puts_everything_into_plain_queues(app: Celery, undertaker: Undertaker) -> None:
    """The schedule and what the dead had taken; dead letters stay. The ledger balances."""
    undertaker.dead_letter()
    send(app, {}, {}, {"priority": 6}, {"countdown": 600}, {"countdown": 900, "priority": 6})
    undertaker.begin(undertaker.take()[:1])
    undertaker.lease(ttl_ms=-5)
    result = hardening(app, "detach")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "given back: 3 messages of dead consumers, 2 scheduled messages\n"
        "left where they are: 1 dead letter, see `celery dlq`\n"
    )
    ledger = undertaker.check()
    assert (ledger.scheduled, ledger.inflight, ledger.queued) == (0, 0, 5)
    assert undertaker.client.llen(undertaker.queue) == 3
    assert undertaker.client.llen(f"{undertaker.queue}{STEP_6}") == 2
    assert take_census(undertaker.client, undertaker.keys).consumers == ()


@pytest.mark.usefixtures("steady")
def test_detach_leaves_what_stock_celery_can_read(app: Celery, undertaker: Undertaker, server: EmbeddedRedis) -> None:
    """A stock app takes from the queue what a hardened one scheduled."""
    app.send_task("shop.charge", (7,), countdown=600, task_id="t1")
    assert hardening(app, "detach").exit_code == 0
    stock = Celery("stock", broker=server.broker_url, set_as_current=False)
    with stock.connection_for_read() as connection:
        message = connection.default_channel.basic_get(undertaker.queue)
        assert message is not None
        assert (message.headers["id"], message.payload[0]) == ("t1", [7])
        assert message.headers["eta"]
        message.ack()
    stock.close()


@pytest.mark.usefixtures("steady")
def test_detach_moves_more_than_a_batch(app: Celery, undertaker: Undertaker) -> None:
    """In as many calls as it takes."""
    for _ in range(501):
        app.send_task("shop.charge", countdown=600)
        app.send_task("shop.charge")
    undertaker.take()
    undertaker.lease(ttl_ms=-5)
    assert hardening(app, "detach").stdout == ("given back: 501 messages of dead consumers, 501 scheduled messages\n")
    assert undertaker.check().queued == 1002


@pytest.mark.usefixtures("steady")
def test_detach_of_nothing(app: Celery) -> None:
    """Is done at once."""
    result = hardening(app, "detach")
    assert result.exit_code == 0
    assert result.stdout == "given back: 0 messages of dead consumers, 0 scheduled messages\n"


@pytest.mark.usefixtures("steady")
def test_detach_charges_crashes_as_a_worker_would(app: Celery, undertaker: Undertaker, tmp_path: Path) -> None:
    """After the last one the message is buried, and its result says so."""
    app.conf.update(result_backend=f"file://{tmp_path}")
    app.send_task("shop.charge", task_id="t1")
    for crash in (1, 2, 3):
        undertaker.begin(undertaker.take())
        undertaker.lease(ttl_ms=-5)
        result = hardening(app, "detach")
        ledger = undertaker.check()
        assert (ledger.scheduled, ledger.inflight) == (0, 0)
        assert ledger.queued == (0 if crash == 3 else 1)
    assert result.stdout == (
        "given back: 0 messages of dead consumers, 0 scheduled messages\n"
        "buried: 1 message of dead consumers, having crashed too often\n"
        "left where they are: 1 dead letter, see `celery dlq`\n"
    )
    assert app.AsyncResult("t1").state == "FAILURE"


@pytest.mark.usefixtures("steady")
def test_detach_refuses_while_workers_are_alive(app: Celery, undertaker: Undertaker) -> None:
    """In one line, having done nothing, unless forced to; what a living worker holds stays with it."""
    send(app, {}, {"countdown": 600})
    undertaker.take()
    result = hardening(app, "detach")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: alive are 1 hardened worker (undertaker): stop them first, or add --force\n"
    assert undertaker.check().scheduled == 1
    assert hardening(app, "detach", "--force").exit_code == 0
    ledger = undertaker.check()
    assert (ledger.scheduled, ledger.inflight, ledger.queued) == (0, 1, 1)


def test_detach_waits_for_workers_after_an_outage(server: EmbeddedRedis, prefix: str, app: Celery) -> None:
    """When Redis came up less than a lease ago, silence does not mean death."""
    fresh = Celery("fresh", broker=server.broker_url, set_as_current=False)
    fresh.conf.update(hardening_prefix=prefix, hardening_lease_ttl_s=3600.0)
    harden(fresh)
    app.send_task("shop.charge", countdown=600)
    result = hardening(fresh, "detach")
    assert (result.exit_code, result.stdout) == (1, "")
    told = r"Error: Redis came up \d+ s ago and workers may not be back yet: try again in (1h|\d+m), or add --force\n"
    assert re.fullmatch(told, result.stderr)
    assert Undertaker(app).check().scheduled == 1
    assert hardening(fresh, "detach", "--force").exit_code == 0
    assert Undertaker(app).check().scheduled == 0
