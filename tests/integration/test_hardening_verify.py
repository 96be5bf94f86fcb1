"""``celery -A app hardening verify``: the ledger, its verdict, and the hints when it does not balance."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, cast

import pytest
from celery import Celery

from hardening import harden
from hardening.cli.verify import _stock_clients
from hardening.core.ledger import read_ledger
from hardening.transport.stock import CLIENT_NAME
from tests.integration.cli import found, hardening, send, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from tests.undertaker import Undertaker

pytestmark = pytest.mark.one_server


def test_verify_shows_both_sides_of_the_law(app: Celery, undertaker: Undertaker) -> None:
    """A message in every place there is: as a table, as a sum, and as a verdict."""
    undertaker.dead_letter()
    send(app, {}, {}, {"countdown": 600}, {})
    undertaker.ack(undertaker.take(1))
    undertaker.take(1)
    undertaker.client.lpush(undertaker.queue, "of a stock producer")
    result = hardening(app, "verify")
    assert result.exit_code == 0
    lines = words(result)
    assert lines[:8] == [
        ["came", "in", "is,", "or", "ended", "as"],
        ["published", "5", "acked", "1"],
        ["adopted", "0", "dead", "1"],
        ["replayed", "0", "purged", "0"],
        ["scheduled", "1"],
        ["queued", "1"],
        ["in", "flight", "1"],
        ["in", "all", "5", "in", "all", "5"],
    ]
    assert (
        "\npublished + adopted + replayed = acked + dead + purged + scheduled + queued + in flight\n" in result.stdout
    )
    assert "\n5 + 0 + 0 = 5, 1 + 1 + 0 + 1 + 1 + 1 = 5\n" in result.stdout
    assert ["of", "stock", "producers,", "waiting", "1"] in lines
    assert result.stdout.splitlines()[-1] == "balanced: 5 came in, and all of them are accounted for"


def test_verify_as_json_has_every_number(app: Celery, undertaker: Undertaker) -> None:
    """And the verdict."""
    undertaker.dead_letter()
    answer = found(app, "verify")
    del answer["unacked"]  # of every deployment on this Redis
    assert answer == {
        "counters": {"published": 1, "dead": 1},
        "inflight": 0,
        "scheduled": 0,
        "stray": 0,
        "queued": 0,
        "stock": 0,
        "unseen": 0,
        "letters": 1,
        "grouped": 1,
        "came_in": 1,
        "accounted": 1,
        "missing": 0,
        "is_balanced": True,
        "hints": [],
    }


def test_verify_misses_what_somebody_else_took(app: Celery, undertaker: Undertaker) -> None:
    """And exits with 1."""
    app.send_task("shop.charge")
    undertaker.client.rpop(undertaker.queue)
    result = hardening(app, "verify")
    assert result.exit_code == 1
    assert "\nNOT balanced: 1 of 1 that came in are nowhere\n" in f"{result.stdout}\n"
    answer = found(app, "verify", exit_code=1)
    assert (answer["missing"], answer["is_balanced"]) == (1, False)


def test_verify_finds_what_came_from_nowhere(app: Celery, undertaker: Undertaker) -> None:
    """A copy of a message, put there by somebody else."""
    app.send_task("shop.charge")
    undertaker.client.lpush(undertaker.queue, undertaker.client.lindex(undertaker.queue, 0) or b"")
    result = hardening(app, "verify")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "NOT balanced: there are 1 more than came in"


def test_verify_finds_a_schedule_without_messages(app: Celery, undertaker: Undertaker) -> None:
    """Though the sums agree."""
    undertaker.client.zadd(undertaker.keys.scheduled, {"stray": 1})
    result = hardening(app, "verify")
    assert result.exit_code == 1
    assert "NOT balanced: 1 due times or scheduled messages have no counterpart" in result.stdout


@pytest.mark.parametrize(("gone", "told"), [("d", (0, 1)), ("g", (1, 0)), ("dg", (0, 0))])
def test_verify_notices_dead_letters_that_are_gone(
    app: Celery, undertaker: Undertaker, gone: str, told: tuple[int, int]
) -> None:
    """From the queue, from what filters and statistics go by, or from both."""
    entry_id = undertaker.dead_letter()
    (group,) = cast("list[bytes]", undertaker.client.hkeys(undertaker.keys.dlq_groups))
    for where in gone:
        key = undertaker.keys.dlq if where == "d" else undertaker.keys.dlq_group(group.decode())
        undertaker.client.xdel(key, entry_id)
    result = hardening(app, "verify")
    assert result.exit_code == 1
    there, known = told
    assert f"NOT balanced: of 1 dead letters {there} are there, and filters know of {known}" in result.stdout


def test_verify_hints_at_what_stock_workers_hold(app: Celery, undertaker: Undertaker) -> None:
    """When messages are missing; what they hold is not ours to count."""
    app.send_task("shop.charge")
    raw: Any = undertaker.client.rpop(undertaker.queue)
    tag = f"tag-{uuid.uuid4()}"
    undertaker.client.hset("unacked", tag, json.dumps([json.loads(raw), "", undertaker.queue]))
    try:
        result = hardening(app, "verify")
    finally:
        undertaker.client.hdel("unacked", tag)
    assert result.exit_code == 1
    hint = result.stdout.splitlines()[-1]
    assert hint.startswith("hint: stock workers hold 1 message")
    assert hint.endswith(", in the hash `unacked`; what they take is not in the ledger")


@pytest.fixture
def listener(server: EmbeddedRedis) -> Iterator[Redis]:
    """A client that listens as a stock worker does to remote control."""
    client = server.client(client_name="pidbox")
    pubsub: Any = client.pubsub()  # type: ignore[no-untyped-call]
    with pubsub:
        pubsub.subscribe("celery.pidbox")
        yield client
    client.close()


@pytest.mark.usefixtures("listener")
def test_verify_hints_at_stock_workers(app: Celery, undertaker: Undertaker) -> None:
    """Which may have taken what is missing, and acknowledged it."""
    app.send_task("shop.charge")
    undertaker.client.rpop(undertaker.queue)
    hint = hardening(app, "verify").stdout.splitlines()[-1]
    assert hint.startswith("hint: ")
    assert hint.endswith(" of this Redis may be stock workers; what they take and acknowledge is not in the ledger")


def test_only_strangers_that_listen_count_as_stock_workers(
    listener: Redis, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither our own connections do, nor those that only ask."""
    client.ping()
    every = client.client_list()
    (listens,) = [each for each in every if each["name"] == "pidbox" and each["sub"] == "1"]
    (asks,) = [each for each in every if each["cmd"].startswith("client") and each["id"] == str(client.client_id())]
    ours = {**listens, "name": CLIENT_NAME}
    monkeypatch.setattr(listener, "client_list", lambda: [listens, asks, ours])
    assert _stock_clients(listener) == 1


@pytest.mark.usefixtures("listener")
def test_verify_has_no_hint_when_nothing_is_missing(app: Celery, undertaker: Undertaker) -> None:
    """Stock workers do no harm."""
    undertaker.dead_letter()
    assert found(app, "verify")["hints"] == []


def test_verify_without_the_right_to_look_at_clients_has_no_hint(
    app: Celery, undertaker: Undertaker, server: EmbeddedRedis, prefix: str
) -> None:
    """An operator's user may be a narrow one."""
    undertaker.client.acl_setuser(
        prefix,
        enabled=True,
        passwords=["+pw"],
        keys=["*"],
        commands=["+@all", "-client", "+client|setname"],
    )
    narrow = Celery("narrow", broker=server.broker_url.replace("://", f"://{prefix}:pw@"), set_as_current=False)
    narrow.conf.hardening_prefix = prefix
    harden(narrow)
    app.send_task("shop.charge")
    undertaker.client.rpop(undertaker.queue)
    try:
        result = hardening(narrow, "verify")
    finally:
        undertaker.client.acl_deluser(prefix)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("NOT balanced: 1 of 1 ")


def test_verify_tells_when_it_did_not_look_at_all(app: Celery, undertaker: Undertaker) -> None:
    """What was not looked at counts as ours, so the verdict may be wrong."""
    undertaker.client.sadd(undertaker.keys.queues, undertaker.queue)
    undertaker.client.lpush(undertaker.queue, *(f"stock {n}" for n in range(5)))
    result = hardening(app, "verify", "--look-at", "2")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-2:] == [
        "NOT balanced: there are 3 more than came in",
        "hint: 3 queued messages were not looked at and count as ours: to look at all of them, add --look-at 5",
    ]
    assert hardening(app, "verify", "--look-at", "5").exit_code == 0
    assert read_ledger(undertaker.client, undertaker.keys, look_at=0).unseen == 5
