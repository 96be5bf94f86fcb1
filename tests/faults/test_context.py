"""An error context goes with messages through real workers, in every pool, and does not mix."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery import chain

from dlq import DeadLetters
from dlq.selection import Selection
from hardening import breadcrumb, error_context, send_many
from tests.eventually import eventually
from tests.integration.cli import dlq

if TYPE_CHECKING:
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server

_TASKS = "tests.faults.context_tasks"


def _told(rig: Rig) -> dict[str, Any]:
    stored: dict[Any, Any] = rig.ledger.hgetall(f"{rig.prefix}:context")
    return {key.decode(): json.loads(value) for key, value in stored.items()}


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "solo"])
def test_it_travels_through_every_pool(rig: Rig, pool: str) -> None:
    """Into chains, retries, threads and whatever tasks send; messages without one stay without."""
    rig.start(pool, 4, tasks=_TASKS)
    app, stock = rig.producer(), rig.stock_producer()
    names = {name: f"{_TASKS}.{name}" for name in ("tell", "then", "relay", "again")}
    for one in ("a", "b"):
        with error_context("checkout", correlation_id=one, order=one):
            breadcrumb(f"sent {one}")
            chain(
                app.signature(names["tell"], (one, 0.3)), app.signature(names["then"], (f"{one} chained",)), app=app
            ).apply_async()
            app.send_task(names["relay"], (one,))
            app.send_task(names["again"], (one,))
        stock.send_task(names["tell"], (f"stock {one}", 0.3))
    with error_context(correlation_id="many"):
        send_many(names["then"], [("", f"many {number}") for number in range(3)], app=app)
    eventually(lambda: len(_told(rig)) >= 23, 60)
    expected: dict[str, Any] = {f"many {number}": ["many", "", {}, []] for number in range(3)}
    for one in ("a", "b"):
        order, sent = {"order": one}, [f"sent {one}"]
        relayed = [one, "relay", {**order, "step": 2}, [*sent, "relaying"]]
        expected |= {
            f"{one} begin": [one, "checkout", order, sent],
            f"{one} end": [one, "checkout", order, [*sent, f"{one} waits"]],
            f"{one} chained": [one, "checkout", order, [*sent, f"{one} waits"]],
            f"{one} delay": relayed,
            f"{one} supervised": relayed,
            f"{one} thread": [one, "checkout", order, [*sent, "relaying"]],
            f"{one} 0": [one, "checkout", order, sent],
            f"{one} 1": [one, "checkout", order, [*sent, "first time"]],
            f"stock {one} begin": None,
        }
    told = _told(rig)
    without = [told.pop(f"stock {one} end") for one in ("a", "b")]
    assert told == expected
    assert [[found[1:] for found in without]] == [[["", {}, [f"stock {one} waits"]] for one in ("a", "b")]]
    app.close()


def test_a_dead_letter_shows_what_was_being_done(rig: Rig) -> None:
    """By whoever sent it, from its header, and by the task itself, with its traceback; secrets are masked."""
    rig.start("prefork", 1, tasks=_TASKS)
    app = rig.producer()
    with error_context("checkout", correlation_id="abc", order=17, token="x"):  # noqa: S106 - to be masked
        breadcrumb("cart was full", items=3)
        app.send_task(f"{_TASKS}.fail", ("4711",))
    letters = DeadLetters.of(app)
    eventually(lambda: len(letters), 30)
    [entry] = letters.select(Selection())
    shown = dlq(app, "show", entry.id).stdout
    assert (
        "context\n"
        "  correlation_id abc\n"
        "  operation      checkout\n"
        "  order          17\n"
        "  token          ***\n"
        "  - cart was full items=3\n"
    ) in shown
    assert "error context: correlation_id=abc operation=fail order=17 token=*** card=***" in entry.traceback
    assert "- about to fail" in entry.traceback
    assert "hardening_context" not in shown
    told = json.loads(dlq(app, "show", entry.id, "--json").stdout)
    assert told["context"] == {
        "correlation_id": "abc", "operation": "checkout", "fields": {"order": 17, "token": "***"},
        "breadcrumbs": [{"text": "cart was full", "fields": {"items": 3}}],
    }  # fmt: skip
    assert '"token": "x"' in dlq(app, "show", entry.id, "--json", "--reveal").stdout
    app.close()
