"""The connection is cut just where it hurts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening.core.scripts import Script
from tests.eventually import eventually
from tests.faults.chaos_bound import silence_bound
from tests.faults.proxy import Proxy
from tests.faults.rig import LEASE_S

if TYPE_CHECKING:
    from tests.faults.rig import Rig


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
@pytest.mark.parametrize("after_reply", [True, False], ids=["reply lost", "request lost"])
@pytest.mark.parametrize("script", ["take", "ack"])
def test_a_cut_around_one_script_loses_and_repeats_nothing(rig: Rig, pool: str, script: str, after_reply: bool) -> None:
    """A take whose reply is lost is given back; an ack whose reply is lost is repeated; nothing runs twice."""
    keys = [f"k{number}" for number in range(80)]
    producer = rig.producer()
    with Proxy(rig.broker) as proxy:
        rig.ready(rig.start(pool, 2, broker=proxy.url))
        rig.send(producer, "work", keys[:40], 0.01)
        rig.await_progress(10)
        proxy.cut_when(Script.load(script).sha.encode(), after_reply=after_reply)
        rig.send(producer, "work", keys[40:], 0.01)
        rig.await_done(keys, 30)
        assert proxy.cuts == 1
        settled = rig.settled()
    assert rig.duplicates() == 0
    assert settled.counters["acked"] == len(keys)
    producer.close()


@pytest.mark.one_server
def test_a_half_open_connection_is_noticed_and_nothing_is_lost(rig: Rig) -> None:
    """A middlebox swallows every byte without closing: the worker hangs up by itself and comes back."""
    keys = [f"k{number}" for number in range(40)]
    producer = rig.producer()
    with Proxy(rig.broker) as proxy:
        worker = rig.ready(rig.start("threads", 2, broker=proxy.url))
        rig.send(producer, "work", keys[:20], 0.01)
        rig.await_progress(20)
        proxy.swallow()
        rig.send(producer, "work", keys[20:], 0.01)
        noticed = rig.seconds_until(lambda: b"onnection to broker lost" in worker.log.read_bytes(), 20)
        assert noticed < 15
        proxy.forward()
        rig.await_done(keys, 40)
        rig.settled()
    assert rig.duplicates() <= 2
    producer.close()


@pytest.mark.one_server
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_whose_heartbeat_is_the_first_to_meet_silence_hangs_up_and_can_be_stopped(rig: Rig, pool: str) -> None:
    """It is sent in the loop's thread, where nothing may wait for Redis to come back."""
    keys = [f"k{number}" for number in range(10)]
    producer = rig.producer()
    with Proxy(rig.broker) as proxy:
        worker = rig.ready(rig.start(pool, 2, broker=proxy.url, faults_socket_s="1"))
        proxy.swallow_when(b"worker.heartbeat")
        eventually(lambda: proxy.swallows)
        rig.send(producer, "work", keys, 0.01)
        assert rig.seconds_until(lambda: b"onnection to broker lost" in worker.log.read_bytes(), 20) < 10
        worker.stop(timeout_s=20)
    rig.ready(rig.start(pool, 2))
    rig.await_done(keys)
    assert rig.settled().counters["acked"] == len(keys)
    assert rig.duplicates() == 0
    producer.close()


@pytest.mark.one_server
@pytest.mark.parametrize(("pool", "concurrency"), [("prefork", 2), ("threads", 2), ("solo", 1)])
def test_a_worker_that_does_not_hear_redis_soon_begins_nothing_more(rig: Rig, pool: str, concurrency: int) -> None:
    """Though it holds plenty, and its lease: whatever it begins may be taken away before it can be settled."""
    keys = [f"k{number}" for number in range(80)]
    most = silence_bound(concurrency, prefetch=16, shortest_s=0.1)
    producer = rig.producer()
    with Proxy(rig.broker) as proxy:
        worker = rig.ready(rig.start(pool, concurrency, broker=proxy.url, faults_prefetch="16"))
        rig.send(producer, "work", keys, 0.1)
        rig.await_progress(5)
        begun = rig.count("began")
        proxy.swallow()
        assert rig.stays(lambda: (rig.count("began") - begun).total() <= most, LEASE_S)
        rig.ready(rig.start(pool, concurrency))
        rig.await_done(keys, 40)
        proxy.forward()
        settled = rig.settled()
        assert worker.process.poll() is None
    assert rig.duplicates() <= most
    assert settled.counters["acked"] == len(keys)
    producer.close()


@pytest.mark.one_server
def test_a_task_ten_leases_long_runs_once_while_connections_are_cut(rig: Rig) -> None:
    """A reconnect redelivers nothing that still runs here."""
    producer = rig.producer()
    with Proxy(rig.broker) as proxy:
        for pool in ("prefork", "threads"):
            rig.ready(rig.start(pool, 3, broker=proxy.url))
        keys = ["long1", "long2"]
        rig.send(producer, "work", keys, 20)
        for cut in range(1, 9):
            rig.seconds_until(lambda: sum(rig.count("began").values()) >= 2, 10)
            proxy.cut()
            quick = f"quick{cut}"
            rig.send(producer, "work", [quick], 0)
            keys.append(quick)
            assert rig.stays(lambda: rig.read().is_balanced, 2.0)
        rig.await_done(keys, 60)
        assert rig.duplicates() == 0
        rig.settled()
    producer.close()
