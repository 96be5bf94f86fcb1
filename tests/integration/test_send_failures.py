"""Sends while Redis is away, slow, cut off or full: bounded, told, and never two messages for one."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hardening import harden, supervised_send
from hardening.core import telemetry
from hardening.core.embedded import EmbeddedRedis
from hardening.core.errors import PublishFailed
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import Script
from tests.conftest import SERVERS
from tests.eventually import eventually
from tests.faults.proxy import Proxy
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from collections.abc import Iterator

AWAY = "redis://127.0.0.1:1/0"


def app_for(broker: str, prefix: str) -> Celery:
    """A hardened app of one broker URL."""
    app = Celery("app", broker=broker, set_as_current=False)
    app.conf.update(task_default_queue=f"{prefix}.q", hardening_prefix=prefix)
    return harden(app)


@pytest.fixture(params=[*SERVERS.values()], ids=[*SERVERS])
def each_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedRedis]:
    """The same, once of each kind: they refuse in different words."""
    with EmbeddedRedis(server=request.param, port=0) as running:
        yield running


@contextmanager
def frozen(server: EmbeddedRedis) -> Iterator[None]:
    """A Redis that accepts connections and says nothing."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize("on_error", ["dead_letter", "raise", "log", "ignore"])
def test_a_send_while_redis_is_away_is_told_as_was_asked(
    prefix: str, on_error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Who does not want to hear of it does not; with ``dead_letter`` the spool has the message."""
    app = app_for(AWAY, prefix)
    began_s = boot_clock_s()
    with telemetry.capture("hardening.publish") as events, caplog.at_level(logging.ERROR):
        if on_error == "dead_letter":
            assert supervised_send("add", app=app, on_error=on_error).status() == "spooled"
        elif on_error == "raise":
            with pytest.raises(PublishFailed) as raised:
                supervised_send("add", app=app, on_error=on_error)
            assert raised.value.attempts == 4
            assert isinstance(raised.value.__cause__, RedisConnectionError)
        else:
            assert len(supervised_send("add", app=app, on_error=on_error).id) == 36
    assert boot_clock_s() - began_s < 5
    assert [(event.task, event.attempt) for event in events if isinstance(event, telemetry.PublishRetried)] == [
        ("add", 1), ("add", 2), ("add", 3),
    ]  # fmt: skip
    assert ["was not published after 4 attempt(s)" in text for text in caplog.messages] == [True] * (on_error == "log")


def test_no_retries_are_one_attempt(prefix: str) -> None:
    """And nothing is told of one that never comes."""
    with telemetry.capture("hardening.publish") as events, pytest.raises(PublishFailed, match=r"after 1 attempt\(s\)"):
        supervised_send("add", app=app_for(AWAY, prefix), retries=0, on_error="raise")
    assert events == []


@pytest.mark.parametrize("timeout_s", [0.3, 0.6])
def test_many_retries_end_with_the_time(prefix: str, timeout_s: float) -> None:
    """The first of both bounds counts."""
    began_s = boot_clock_s()
    with pytest.raises(PublishFailed):
        supervised_send("add", app=app_for(AWAY, prefix), retries=100_000, timeout=timeout_s, on_error="raise")
    assert timeout_s <= boot_clock_s() - began_s < timeout_s + 1


@pytest.mark.parametrize(("exchange", "is_connected"), [("", True), ("", False), ("named", True), ("named", False)])
def test_a_redis_that_says_nothing_keeps_nobody_longer_than_was_asked(
    own_server: EmbeddedRedis, prefix: str, exchange: str, *, is_connected: bool
) -> None:
    """Whatever the sockets' own timeout; all attempts together."""
    app = app_for(own_server.broker_url, prefix)
    if is_connected:
        supervised_send("add", app=app)
    options: dict[str, Any] = {"exchange": exchange, "routing_key": "x"} if exchange else {}
    began_s = boot_clock_s()
    with frozen(own_server), pytest.raises(PublishFailed) as raised:
        supervised_send("add", app=app, timeout=0.5, on_error="raise", **options)
    assert 0.4 < boot_clock_s() - began_s < 2
    assert isinstance(raised.value.__cause__, RedisTimeoutError)


def test_a_redis_that_is_back_in_time_gets_the_message(own_server: EmbeddedRedis, prefix: str) -> None:
    """A restart, in the middle of a send."""
    app = app_for(own_server.broker_url, prefix)
    supervised_send("add", app=app)
    own_server.kill()
    timer = threading.Timer(0.3, own_server.restart)
    timer.start()
    receipt = supervised_send("add", app=app, retries=100, timeout=20)
    timer.join()
    with own_server.client() as client:
        assert Stage(client, prefix).state() == State(queued={"q": [receipt.id]}, rung={"q"})
    assert receipt.status() == "queued"


def test_connections_that_were_killed_meanwhile_are_made_anew(own_server: EmbeddedRedis, prefix: str) -> None:
    """One message a send, whether the loss is noticed before or while it is used."""
    app = app_for(own_server.broker_url, prefix)
    with own_server.client() as client:
        stage = Stage(client, prefix)
        ids = []
        for _ in range(5):
            ids.append(supervised_send("add", app=app).id)
            client.client_kill_filter(_type="normal", skipme=True)
        assert stage.state() == State(queued={"q": ids}, rung={"q"})
        assert stage.ledger().counters == {"published": 5}


@pytest.mark.parametrize("later", [{}, {"countdown": 3600}], ids=["now", "later"])
@pytest.mark.parametrize("after_reply", [True, False], ids=["reply-lost", "call-lost"])
def test_a_send_that_is_cut_makes_one_message(
    own_server: EmbeddedRedis, prefix: str, later: dict[str, Any], *, after_reply: bool
) -> None:
    """The sender cannot know whether Redis has it, and tries again: Redis can."""
    with Proxy(own_server.broker_url) as proxy, own_server.client() as client, telemetry.capture() as events:
        app = app_for(proxy.url, prefix)
        stage = Stage(client, prefix)
        first = supervised_send("add", app=app, **later)
        proxy.cut_when(Script.load("publish").sha.encode(), after_reply=after_reply)
        second = supervised_send("add", app=app, on_error="raise", **later)
        state = stage.state()
        assert state.everywhere() == sorted([first.id, second.id])
        assert stage.ledger().counters == {"published": 2}
        assert [change.state for change in second.history()] == ["scheduled" if later else "queued"]
        assert [event.name for event in events] == ["hardening.publish.retried"]
        assert proxy.cuts == 1


def test_a_full_redis_is_not_tried_again(each_server: EmbeddedRedis, prefix: str) -> None:
    """It will not be less full in a moment; nothing is half written."""
    app = app_for(each_server.broker_url, prefix)
    with each_server.client() as client, telemetry.capture("hardening.publish") as events:
        client.config_set("maxmemory", 1)
        with pytest.raises(PublishFailed) as raised:
            supervised_send("add", app=app)
        assert isinstance(raised.value.__cause__, OutOfMemoryError)
        assert (raised.value.attempts, events) == (1, [])
        assert client.keys(f"{prefix}*") == []


def test_a_replica_is_tried_again_until_it_is_a_master(each_server: EmbeddedRedis, prefix: str) -> None:
    """In the middle of a failover."""
    app = app_for(each_server.broker_url, prefix)
    with each_server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(PublishFailed) as raised:
            supervised_send("add", app=app, timeout=0.3, retries=1000, on_error="raise")
        assert isinstance(raised.value.__cause__, ReadOnlyError)
        timer = threading.Timer(0.2, client.execute_command, ("REPLICAOF", "NO", "ONE"))
        timer.start()
        receipt = supervised_send("add", app=app, timeout=20, retries=1000)
        timer.join()
        assert Stage(client, prefix).state() == State(queued={"q": [receipt.id]}, rung={"q"})


def test_of_several_brokers_the_one_that_answers_is_used(own_server: EmbeddedRedis, prefix: str) -> None:
    """As kombu fails over; when it is gone, the next is looked for."""
    with EmbeddedRedis(port=0) as other, other.client() as client:
        app = app_for(f"{AWAY};{own_server.broker_url};{other.broker_url}", prefix)
        first = supervised_send("add", app=app)
        assert first.status() == "queued"
        own_server.kill()
        second = supervised_send("add", app=app)
        assert second.status() == "queued"
        assert Stage(client, prefix).state() == State(queued={"q": [second.id]}, rung={"q"})


def test_a_waiter_survives_a_restart(own_server: EmbeddedRedis, prefix: str) -> None:
    """A cut is no answer: it asks again until its time is over."""
    app = app_for(own_server.broker_url, prefix)
    receipt = supervised_send("add", app=app)
    with own_server.client() as client:
        heard: list[str] = []
        thread = threading.Thread(target=lambda: heard.append(receipt.wait("claimed", 20)))
        thread.start()
        eventually(lambda: client.info("clients")["blocked_clients"] >= 1)
        client.client_kill_filter(_type="normal", skipme=True)
        eventually(lambda: client.info("clients")["blocked_clients"] >= 1)
        stage = Stage(client, prefix)
        stage.join("w")
        stage.take("w")
        thread.join(20)
    assert heard == ["claimed"]


def test_a_waiter_without_redis_gives_up_in_time(own_server: EmbeddedRedis, prefix: str) -> None:
    """With what was wrong: the state is not known."""
    receipt = supervised_send("add", app=app_for(own_server.broker_url, prefix))
    own_server.kill()
    began_s = boot_clock_s()
    with pytest.raises(RedisConnectionError):
        receipt.wait("acked", 0.5)
    assert 0.3 < boot_clock_s() - began_s < 3
