"""``celery -A app signals``: what operators see and do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery.bin.celery import celery

from hardening import emit, subscribe
from hardening.agents.router.cli import signals
from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts import calls
from hardening.delivery import agent, worker
from tests.integration.spooling import AWAY, app_for
from tests.integration.telling import charge_of, host, waiting
from tests.terminal import call_celery

if TYPE_CHECKING:
    from celery import Celery
    from click.testing import Result

celery.add_command(signals)  # as the entry point does, also where an older version is installed

pytestmark = pytest.mark.one_server


def call(app: Celery | None, *args: str) -> Result:
    """Calls ``celery -A app signals ...``."""
    return call_celery(app, "signals", *args)


def said(app: Celery, *args: str) -> list[dict[str, Any]]:
    """The JSON objects it prints."""
    result = call(app, *args, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_subscriptions_are_listed(app: Celery, queue: str) -> None:
    """As a table and as JSON: live, silent and over; only those of a signal."""
    assert call(app, "list").stdout == "0 subscriptions\n"
    keys, client = settings_of(app).keys, client_of(app)
    calls.renew(keys, "w", 600_000, join=True, about="{}", node="mail@host").run(client)
    host(app, "inventory")
    charge = charge_of(app)
    subscribe("order.*", charge, tied_to=worker("mail@host"))
    subscribe("order.created", charge, ttl=3600)
    subscribe("stock.#", agent("inventory"), handler="on_stock", app=app)
    client.zadd(keys.leases, {"w": 1})
    host(app, "inventory", halt="stopped")
    lines = [line.split() for line in call(app, "list").stdout.splitlines()]
    assert lines[1][:6] == ["order.*", "task", "shop.charge", "in", queue, "silent"]
    assert lines[2][5:7] in (["live", "59m"], ["live", "1h"])
    assert lines[3][:6] == ["stock.#", "agent", "inventory.on_stock", "over", "(agent_gone)", "agent:agent.inventory"]
    assert lines[4] == ["3", "subscriptions"]
    rows = said(app, "list")
    assert [row["pattern"] for row in rows] == ["order.*", "order.created", "stock.#"]
    assert [(row["state"], row["why"], row["tied_to"]) for row in rows] == [
        ("silent", "worker_silent", "worker:w"), ("live", "", ""), ("over", "agent_gone", "agent:agent.inventory"),
    ]  # fmt: skip
    assert [row["pattern"] for row in said(app, "list", "--signal", "order.paid")] == ["order.*"]


def test_what_others_wrote_cannot_reach_the_terminal(app: Celery) -> None:
    """Names may be anything."""
    subscribe("order.*", "evil\x1b[31m", queue="q\u202e", durable=True, app=app)
    shown = call(app, "list").stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "evil\\x1b[31m" in shown


def test_a_signal_is_emitted_by_hand(app: Celery, queue: str) -> None:
    """With a payload or none; who got it is told, and what was dropped."""
    subscribe("order.*", charge_of(app), durable=True)
    assert call(app, "emit", "order.created", '{"order": 17}').stdout == "order.created: 1 subscriber got it\n"
    assert said(app, "emit", "order.paid") == [{"signal": "order.paid", "routed": 1, "dropped": []}]
    assert [args for _, args in waiting(app, queue)] == [["order.created", {"order": 17}], ["order.paid", None]]
    host(app, "full", bound=1)
    subscribe("#", agent("full"), app=app)
    emit("a", app=app)
    assert call(app, "emit", "a").stdout == "a: 0 subscribers got it\ndropped for agent full.on_signal: mailbox_full\n"
    assert said(app, "emit", "a")[0]["dropped"] == [{"subscriber": "agent full.on_signal", "reason": "mailbox_full"}]
    client_of(app).delete("agent.full")


def test_statistics_are_shown(app: Celery) -> None:
    """Each with what it means."""
    assert call(app, "stats").exit_code == 0
    subscribe("order.*", charge_of(app), ttl=60)
    for name in ("order.created", "order.created", "stock.low"):
        emit(name, app=app)
    key = settings_of(app).keys.signal_stats
    client_of(app).hset(key, mapping={"dropped:mailbox_full": 1234, "dropped:expired": 1})
    lines = [" ".join(line.split()) for line in call(app, "stats").stdout.splitlines()]
    assert lines[1:7] == [
        "emitted 3 signals", "routed 2 messages that subscribers got", "unrouted 1 signals that nobody got",
        "subscriptions 1 there are now", "dropped 1,234 mailbox_full",
        "ended 1 subscriptions that signals met: expired",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[7:]] == ["mean", "p50", "p99"]
    (found,) = said(app, "stats")
    assert (found["emitted"], found["dropped"], found["ended"]) == (3, {"mailbox_full": 1234}, {"expired": 1})


def test_a_subscription_is_ended_by_hand(app: Celery) -> None:
    """By its id; one that is not there is told."""
    made = subscribe("order.*", charge_of(app), durable=True)
    assert call(app, "unsubscribe", made.id).stdout == "ended\n"
    again = call(app, "unsubscribe", made.id)
    assert (again.exit_code, again.stderr) == (3, f"no subscription has the id '{made.id}': see `signals list`\n")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("emit", "order.*"), "expected a name without"),
        (("emit", "a", "{order: 17}"), "PAYLOAD is not JSON"),
        (("list", "--signal", "a b"), "expected words"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(app: Celery, args: tuple[str, ...], told: str) -> None:
    """And nothing is done."""
    result = call(app, *args)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.output


def test_an_absent_redis_is_told_in_one_line(prefix: str) -> None:
    """Nothing is spooled by hand."""
    away = app_for(AWAY, prefix, hardening_socket_timeout_s=0.5, hardening_publish_retries=0)
    for args in (("list",), ("stats",), ("emit", "a"), ("unsubscribe", "x")):
        result = call(away, *args)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.output
