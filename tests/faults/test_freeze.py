"""A worker is frozen for longer than its lease, and wakes up."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from hardening.core.membership import boot_clock_s
from hardening.core.scripts import Script
from tests.eventually import eventually
from tests.faults.proxy import Proxy
from tests.faults.rig import LEASE_S

if TYPE_CHECKING:
    from tests.faults.rig import Rig


_POOLS = [("prefork", 2), ("threads", 2), ("solo", 1)]


@pytest.mark.one_server
@pytest.mark.parametrize(("pool", "concurrency"), _POOLS)
def test_a_worker_frozen_for_three_leases_repeats_only_what_it_ran(rig: Rig, pool: str, concurrency: int) -> None:
    """Its messages run elsewhere meanwhile; on waking it begins nothing that was taken away."""
    keys = [f"k{number}" for number in range(60)]
    producer = rig.producer()
    frozen = rig.ready(rig.start(pool, concurrency))
    rig.send(producer, "work", keys, 0.1)
    rig.await_progress(5)
    frozen.send(signal.SIGSTOP)
    since_s = boot_clock_s()
    rig.ready(rig.start(pool, concurrency))
    eventually(lambda: boot_clock_s() - since_s > 3 * LEASE_S, 4 * LEASE_S)
    frozen.send(signal.SIGCONT)
    rig.await_done(keys)
    assert rig.duplicates() <= concurrency
    settled = rig.settled()
    assert settled.counters["published"] == len(keys)
    fresh = [f"again{number}" for number in range(10)]
    rig.send(producer, "work", fresh, 0.01)
    rig.await_done(keys + fresh)
    assert frozen.process.poll() is None
    rig.settled()
    producer.close()


@pytest.mark.one_server
@pytest.mark.parametrize(("pool", "concurrency"), _POOLS)
def test_a_worker_that_wakes_begins_nothing_before_redis_has_renewed_its_lease(
    rig: Rig, pool: str, concurrency: int
) -> None:
    """Its connections are well, but nobody has told it yet that it was declared dead: its own clock has to.

    All its places are taken when it freezes. A place that is free might be on its way to a task that Redis knows as
    begun, and that one would run: it counts among those that were running.
    """
    running = [f"running{number}" for number in range(concurrency)]
    waiting = [f"waiting{number}" for number in range(40)]
    producer = rig.producer()
    with Proxy(rig.broker) as proxy:
        rig.send(producer, "gated", running)
        rig.send(producer, "work", waiting, 0.02)
        frozen = rig.ready(rig.start(pool, concurrency, broker=proxy.url, faults_socket_s="30"))
        eventually(lambda: len(rig.count("began")) == concurrency and rig.read().inflight > concurrency, 20)
        frozen.send(signal.SIGSTOP)
        rig.ledger.set(f"{rig.prefix}:gate", 1)
        rig.ready(rig.start(pool, concurrency))
        rig.await_done(running + waiting)
        rig.settled()
        began = rig.count("began")
        assert began == {**dict.fromkeys(running, 2), **dict.fromkeys(waiting, 1)}
        proxy.hold(Script.load("renew").sha.encode())
        frozen.send(signal.SIGCONT)
        eventually(lambda: proxy.held, 20)
        assert rig.stays(lambda: rig.count("began") == began, 1.5), rig.count("began") - began
        proxy.release()
        fresh = [f"again{number}" for number in range(10)]
        rig.send(producer, "work", fresh, 0.01)
        rig.await_done(running + waiting + fresh)
        assert rig.count("began") == {**began, **dict.fromkeys(fresh, 1)}
        assert frozen.process.poll() is None
        rig.settled()
    producer.close()
