"""What a process falls back on while Redis is away: its breaker, its flusher, and where its spool is."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from typing import TYPE_CHECKING

import pytest

from hardening import supervised_send
from hardening.core import telemetry
from hardening.core.embedded import EmbeddedRedis
from hardening.core.errors import (
    BreakerOpen,
    PublishFailed,
)
from hardening.core.outage import BreakerChanged, SpoolFailed
from hardening.delivery.fallback import Fallback, fallback_of
from hardening.delivery.flusher import Report
from tests.eventually import eventually
from tests.forked import forked
from tests.integration.spooling import AWAY, app_for, receipts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery import Celery

pytestmark = pytest.mark.one_server


@pytest.fixture
def own(binary: str, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of this test's own that remembers what it has answered."""
    data = tmp_path / "aof"
    with EmbeddedRedis(server=binary, port=0, directory=data, config={"appendfsync": "always"}) as running:
        yield running


def fallback_for(app: Celery) -> Fallback:
    """What an app falls back on."""
    return fallback_of(app)


@pytest.mark.usefixtures("quiet")
def test_the_breaker_ends_the_waiting(own: EmbeddedRedis, prefix: str) -> None:
    """A frozen Redis costs a few timeouts; after that a send is a matter of the spool, or of an error."""
    app = app_for(own.broker_url, prefix, hardening_publish_breaker_failures=2)
    os.kill(own.pid, signal.SIGSTOP)
    try:
        with telemetry.capture("hardening.breaker") as events:
            for _ in range(2):
                supervised_send("add", app=app, timeout=0.3, retries=0)
        assert events == [BreakerChanged(state="open", generation=1, pause_s=1.0)]
        began_s = time.monotonic()
        with pytest.raises(PublishFailed) as raised:
            supervised_send("add", app=app, on_error="raise")
        assert supervised_send("add", app=app).id in receipts(fallback_for(app).spool)
        assert time.monotonic() - began_s < 2  # each would wait for five seconds
    finally:
        os.kill(own.pid, signal.SIGCONT)
    assert raised.value.attempts == 0
    assert isinstance(raised.value.__cause__, BreakerOpen)
    assert "after 0 attempt(s): BreakerOpen: the breaker is open: Redis could not be reached 2 times in a row" in str(
        raised.value
    )
    eventually(lambda: supervised_send("add", app=app).status() == "queued")
    assert fallback_for(app).breaker.state == "closed"


@pytest.mark.usefixtures("quiet")
def test_the_flusher_tells_the_breaker_that_redis_is_back(app: Celery) -> None:
    """Or senders would go on failing for up to half a minute."""
    fallback = fallback_for(app)
    while fallback.breaker.state == "closed":
        fallback.breaker.failed(fallback.breaker.ask())
    supervised_send("add", app=app)
    with pytest.raises(PublishFailed):
        supervised_send("add", app=app, on_error="raise")
    assert fallback.flusher.run_once() == Report(flushed=1)
    assert supervised_send("add", app=app, on_error="raise").status() == "queued"
    assert fallback.breaker.state == "closed"


def test_failing_fast_takes_less_than_a_millisecond(away: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time; message, error and all. The breaker's clock stands still: none of them is its probe."""
    breaker = fallback_for(away).breaker
    monkeypatch.setattr(breaker, "_clock_s", lambda: 0.0)
    while breaker.state == "closed":
        breaker.failed(breaker.ask())
    took_s = []
    for _ in range(200):
        began_s = time.perf_counter()
        with pytest.raises(PublishFailed, match="the next probe is in"):
            supervised_send("add", app=away, on_error="raise")
        took_s.append(time.perf_counter() - began_s)
    assert statistics.quantiles(took_s, n=10)[0] < 0.001
    assert statistics.median(took_s) < 0.01


def test_a_send_under_way_goes_on_though_the_breaker_opens(own: EmbeddedRedis, prefix: str) -> None:
    """It was promised so many retries and so much time."""
    app = app_for(own.broker_url, prefix, hardening_publish_breaker_failures=1)
    own.kill()
    timer = threading.Timer(0.3, own.restart)
    timer.start()
    receipt = supervised_send("add", app=app, retries=100, timeout=20)
    timer.join()
    assert receipt.status() == "queued"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_begins_with_a_breaker_and_a_flusher_of_its_own(away: Celery) -> None:
    """And with the same spool."""
    mine = fallback_for(away)
    while mine.breaker.state == "closed":
        mine.breaker.failed(mine.breaker.ask())

    def send() -> bool:
        theirs = fallback_of(away)
        is_fresh = theirs is not mine and theirs.breaker.state == "closed" and not theirs.flusher.is_running
        supervised_send("add", app=away, retries=0)
        return is_fresh and theirs.flusher.is_running

    assert forked(send) == 0
    assert mine.breaker.state == "open"
    assert len(receipts(mine.spool)) == 1
    assert fallback_of(away) is mine


@pytest.mark.parametrize(
    ("conf", "environ", "path"),
    [
        ({}, {"XDG_STATE_HOME": "/state"}, "/state/celery-hardening/shop.spool"),
        ({}, {"XDG_STATE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.local/state/celery-hardening/shop.spool"),
        ({}, {"XDG_STATE_HOME": "", "HOME": "/home/me"}, "/home/me/.local/state/celery-hardening/shop.spool"),
        ({"hardening_spool_path": "/var/a.spool"}, {}, "/var/a.spool"),
        ({"hardening_spool_path": "~/a.spool"}, {"HOME": "/home/me"}, "/home/me/a.spool"),
        ({"hardening_spool_path": "~nobody.of.that.name/a.spool"}, {}, "/~nobody.of.that.name/a.spool"),
    ],
)
def test_the_spool_is_where_it_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, conf: dict[str, str], environ: dict[str, str], path: str
) -> None:
    """By default with what programs keep of themselves."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert str(fallback_of(app_for(AWAY, "shop", **conf)).spool.path) == path


def test_a_spool_knows_its_broker_without_its_password(prefix: str) -> None:
    """The file names no secret; a new password is no new broker."""
    brokers = {
        fallback_of(app_for(f"redis://:{secret}@127.0.0.1:1/0;redis://me:{secret}@127.0.0.1:2/1", prefix)).spool._broker
        for secret in ("SECRET", "s3cret")
    }
    assert brokers == {"redis://127.0.0.1:1/0;redis://127.0.0.1:2/1"}


def test_who_hears_of_a_damaged_spool_may_send_for_another_app(app: Celery, prefix: str) -> None:
    """Which looks for its own fallback, in the very call that makes the first one's."""
    path, other = Fallback(app).spool.path, app_for(AWAY, prefix)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"junk" * 2000)
    heard: list[Fallback] = []
    subscription = telemetry.attach("hardening.spool.failed", lambda _: heard.append(fallback_of(other)))
    thread = threading.Thread(target=fallback_of, args=(app,), daemon=True)
    thread.start()
    thread.join(10)
    telemetry.detach(subscription)
    assert heard
    assert heard[0] is fallback_of(other)


def test_a_damaged_spool_harms_no_send_that_redis_takes(app: Celery) -> None:
    """It is told, once for a process."""
    path = Fallback(app).spool.path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"junk" * 2000)
    with telemetry.capture("hardening.spool") as events:
        assert supervised_send("add", app=app).status() == "queued"
        assert supervised_send("add", app=app).status() == "queued"
    (event,) = events
    assert isinstance(event, SpoolFailed)
    assert str(path) in event.error
