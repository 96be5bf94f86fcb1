"""``celery -A app hardening status``: who is alive, and where everything is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening.cli.census import take_census
from hardening.delivery.fallback import fallback_of
from hardening.delivery.spool import Spool
from tests.integration.cli import found, hardening, send, words
from tests.integration.spooling import AWAY, app_for, publication
from tests.undertaker import Undertaker

if TYPE_CHECKING:
    from celery import Celery

pytestmark = pytest.mark.one_server

HOSTILE = "\x1b[2J[bold]x"


def test_status_of_an_empty_deployment(app: Celery, undertaker: Undertaker) -> None:
    """Has the app's own queue, and zeros."""
    assert found(app, "status") == {
        "prefix": undertaker.keys.prefix,
        "consumers": [],
        "dead_consumers": [],
        "queues": {undertaker.queue: {"0": 0, "3": 0, "6": 0, "9": 0}},
        "scheduled": 0,
        "next_due_ms": None,
        "dead_letters": 0,
        "spool": {
            "path": str(fallback_of(app).spool.path), "waiting": 0, "refused": 0, "foreign": 0, "bytes": 0,
            "oldest_s": None,
        },
        "counters": {},
    }  # fmt: skip


def test_status_tells_where_everything_is(app: Celery, undertaker: Undertaker) -> None:
    """Consumers, queues by priority, the schedule, dead letters, counters."""
    undertaker.dead_letter()
    send(app, {}, {}, {}, {"priority": 6}, {"countdown": 600})
    undertaker.begin(undertaker.take(2)[:1])
    answer = found(app, "status")
    (consumer,) = answer.pop("consumers")
    assert 0 < consumer.pop("lease_ms") <= 60_000
    assert consumer == {"name": "undertaker", "host": "morgue", "pid": "13", "inflight": 2, "begun": 1}
    assert 590_000 < answer.pop("next_due_ms") <= 600_000
    assert answer.pop("spool")["waiting"] == 0
    assert answer == {
        "prefix": undertaker.keys.prefix,
        "dead_consumers": [],
        "queues": {undertaker.queue: {"0": 1, "3": 0, "6": 1, "9": 0}},
        "scheduled": 1,
        "dead_letters": 1,
        "counters": {"dead": 1, "published": 6},
    }
    result = hardening(app, "status")
    assert result.exit_code == 0
    lines = words(result)
    assert ["consumers:", "1"] in lines
    assert [line[:3] + line[4:] for line in lines if line[0] == "undertaker"] == [
        ["undertaker", "morgue", "13", "2", "1"]
    ]
    assert [undertaker.queue, "1", "0", "1", "0"] in lines
    assert ["scheduled:", "1,", "the", "first", "due", "in", "9m"] in lines
    assert ["dead", "letters:", "1"] in lines
    assert ["published", "6"] in lines


def test_status_tells_the_dead_from_the_living(app: Celery, undertaker: Undertaker) -> None:
    """A lease that ran out, and one that was declared dead with messages in flight."""
    app.send_task("shop.charge")
    undertaker.take()
    Undertaker(app, "expired").lease(ttl_ms=-5)
    undertaker.client.zrem(undertaker.keys.leases, "undertaker")
    undertaker.client.zadd(undertaker.keys.dead, {"undertaker": 1})
    Undertaker(app, "alive").lease()
    answer = found(app, "status")
    assert [consumer["name"] for consumer in answer["consumers"]] == ["alive"]
    dead = [(consumer["name"], consumer["inflight"]) for consumer in answer["dead_consumers"]]
    assert dead == [("expired", 0), ("undertaker", 1)]
    assert ["dead", "consumers,", "to", "be", "recovered:", "2"] in words(hardening(app, "status"))


def test_status_tells_what_is_overdue(app: Celery, undertaker: Undertaker) -> None:
    """Nobody takes it."""
    undertaker.client.zadd(undertaker.keys.scheduled, {"m": 1000})
    undertaker.client.hset(undertaker.keys.scheduled_messages, "m", "1:qx")
    assert "scheduled: 1, the first overdue by " in hardening(app, "status").stdout


def test_status_tells_what_this_host_keeps(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much waits in its spool, how much is set aside, and since when."""
    spool = fallback_of(app).spool
    for now_s in (10.0, 1_000.0, 2_000.0, 3_000.0):
        monkeypatch.setattr("time.time", lambda now_s=now_s: now_s)
        spool.put(publication(padding=100))
    first, *_ = spool.batch()
    spool.settle([], refused=[(first.seq, "WRONGTYPE")])
    monkeypatch.setattr("time.time", lambda: 1_000.0 + 2 * 3600)
    Spool(spool.path, "redis://elsewhere", max_messages=9, max_bytes=9_999).put(publication())
    held = found(app, "status")["spool"]
    assert held == {
        "path": str(spool.path), "waiting": 3, "refused": 1, "foreign": 1, "bytes": spool.totals().bytes,
        "oldest_s": 7200.0,
    }  # fmt: skip
    assert held["bytes"] > 4 * 100
    assert (
        "\nspool of this host: 3 messages waiting (oldest 2h), 1 set aside, 1 for other brokers, "
        f"{held['bytes']} bytes\n"
    ) in hardening(app, "status").stdout


def test_status_tells_of_the_spool_while_redis_is_away(prefix: str) -> None:
    """That is when somebody asks; the exit code says that the rest is missing."""
    away = app_for(AWAY, prefix)
    fallback_of(away).spool.put(publication())
    result = hardening(away, "status")
    assert result.exit_code == 1
    assert "spool of this host: 1 message waiting (oldest 0s), 0 set aside" in result.stdout
    assert result.stderr.startswith("Error: Redis could not be asked: ")
    result = hardening(away, "status", "--json")
    assert (result.exit_code, result.stdout) == (1, "")


def test_a_spool_that_cannot_be_read_hides_nothing_else(app: Celery) -> None:
    """It is told in its place."""
    path = fallback_of(app).spool.path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"junk" * 2000)
    assert "is damaged or not a spool" in found(app, "status")["spool"]["error"]
    result = hardening(app, "status")
    assert result.exit_code == 0
    assert f"spool of this host: the spool {path} " in result.stdout
    assert ["consumers:", "0"] in words(result)


@pytest.mark.parametrize("about", ["no json", "[]", "{}", "[" * 50_000, '{"host": 1}'])
def test_status_needs_no_member_to_make_sense(app: Celery, undertaker: Undertaker, about: str) -> None:
    """What a consumer says of itself may be anything."""
    undertaker.lease()
    undertaker.client.hset(undertaker.keys.members, "undertaker", about)
    (consumer,) = take_census(undertaker.client, undertaker.keys).alive
    assert (consumer.host, consumer.pid) == ("", "")
    assert hardening(app, "status").exit_code == 0


def test_status_shows_hostile_names_harmlessly(app: Celery, undertaker: Undertaker) -> None:
    """Consumers, hosts, queues and counters are named by others."""
    Undertaker(app, HOSTILE).lease(about={"host": HOSTILE, "pid": HOSTILE})
    undertaker.client.sadd(undertaker.keys.queues, HOSTILE)
    undertaker.client.hset(undertaker.keys.counters, HOSTILE, 1)
    for args in (["status"], ["status", "--json"], ["verify"], ["verify", "--json"], ["detach"]):
        result = hardening(app, *args)
        assert "\x1b" not in result.stdout + result.stderr
    assert r"\x1b[2J[bold]x" in hardening(app, "status").stdout
    assert r"\x1b[2J[bold]x" in hardening(app, "detach").stderr
