"""Semaphores and pools of resources, as processes share them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.agents.coordination import (
    GrantLost,
    ResourceTimeout,
    elect_leader,
    resource_pool,
    semaphore,
)
from hardening.agents.coordination.keeper import keeper_of
from hardening.core.deployment import client_of, settings_of
from hardening.core.membership import boot_clock_s
from tests.eventually import eventually
from tests.forked import forked
from tests.integration.coordinating import Outage, names, parties

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core import telemetry

pytestmark = pytest.mark.one_server


def test_no_more_than_there_are_permits_hold_one(app: Celery) -> None:
    """Whoever waits gets the next that is given back."""
    lot = semaphore("s", 2, ttl=60, app=app)
    holding, most, mutex = [0], [0], threading.Lock()

    def use() -> int:
        with lot.acquire(30) as permit:
            with mutex:
                holding[0] += 1
                most[0] = max(most[0], holding[0])
            threading.Event().wait(0.02)
            with mutex:
                holding[0] -= 1
            return permit.must_hold()

    fences = parties(8, use)
    assert len(set(fences)) == 8
    assert most == [2]
    assert client_of(app).keys(f"{settings_of(app).prefix}:*") == [settings_of(app).keys.fence.encode()]


def test_who_waits_is_served_in_order(app: Celery) -> None:
    """And woken, rather than left to ask: many change hands in the time of one round."""
    lot, keys = semaphore("s", 1, ttl=60, app=app), settings_of(app).keys
    served: list[int] = []

    def use(number: int) -> None:
        with lot.acquire(30):
            served.append(number)

    with ThreadPoolExecutor(8) as threads, lot.acquire():
        for number in range(8):
            threads.submit(use, number)
            eventually(lambda number=number: client_of(app).zcard(keys.waiters("semaphore:s")) == number + 1)  # type: ignore[misc]
        threads.submit(eventually, lambda: len(served) == 8)
    assert served == list(range(8))


def test_who_waits_in_vain_is_told_and_leaves_the_line(app: Celery) -> None:
    """With how many waited in front."""
    pool = resource_pool("p", ["x", "y", "x"], ttl=60, app=app)
    with pool.acquire() as first, pool.acquire(0) as second:
        assert {first.resource, second.resource} == {"x", "y"}
        assert second.fence > first.fence
        with pytest.raises(ResourceTimeout, match=r"nothing of pool:p was free within 0.2 s, 0 waited") as error:
            pool.acquire(0.2)
        assert (error.value.lot, error.value.timeout_s, error.value.ahead) == ("pool:p", 0.2, 0)
        assert not client_of(app).exists(settings_of(app).keys.waiters("pool:p"))
        assert repr(pool) == "Pool('pool:p', permits=2)"
        assert repr(first) == f"GrantLease('pool:p', fence={first.fence}, resource='x')"
    with pytest.raises(GrantLost, match=r"grant \d+ of pool:p is not held any more"):
        first.must_hold()
    assert not first.release()


def test_what_is_held_is_renewed_by_one_thread(app: Celery) -> None:
    """For longer than its lease, whatever its length; it sleeps when nothing is held."""
    short, long = semaphore("short", 1, ttl=1.5, app=app), semaphore("long", 1, ttl=60, app=app)
    client: Any = client_of(app)
    key = settings_of(app).keys.granted("semaphore:short")
    with long.acquire(), short.acquire() as permit:
        before = client.zrange(key, 0, -1, withscores=True)[0][1]
        eventually(lambda: client.zrange(key, 0, -1, withscores=True)[0][1] > before)
        assert permit.is_held()
        named = [thread for thread in threading.enumerate() if thread.name == "hardening-grants"]
        assert named.count(keeper_of(app)._thread) == 1  # type: ignore[arg-type]
        with pytest.raises(ResourceTimeout):
            short.acquire(0)
    assert keeper_of(app).run_once() is None


def test_who_lost_a_permit_is_told(app: Celery, told: list[telemetry.Event]) -> None:
    """It was held to be dead, and another has it."""
    lot = semaphore("s", 1, ttl=0.6, app=app)
    with lot.acquire() as permit:
        key, client = settings_of(app).keys.granted("semaphore:s"), client_of(app)
        client.delete(key)
        eventually(lambda: "grant.reaped" in names(told))
        assert not permit.is_held()
        with lot.acquire(0) as other:
            assert not permit.release()
            assert other.is_held()
            assert client.zcard(key) == 1


def test_a_permit_outlives_an_outage_or_knows_that_it_is_over(
    app: Celery, outage: Outage, told: list[telemetry.Event]
) -> None:
    """By its own clock. Who waits meanwhile goes on waiting; a lost reply costs no permit."""
    lot = semaphore("s", 1, ttl=0.9, app=app)
    with lot.acquire() as permit:
        outage.go("renew_grants")
        eventually(lambda: not permit.is_held())
        outage.come_back()
        eventually(permit.is_held)
        outage.go("give_back")
    assert not permit.is_held()
    assert set(names(told)) == {"grant.renew_failed"}
    outage.come_back()
    with ThreadPoolExecutor(1) as threads:
        outage.go("grant", after=True)
        waits = threads.submit(lot.acquire, 30)
        eventually(lambda: outage.asked > 3)
        eventually(lambda: client_of(app).zcard(settings_of(app).keys.granted("semaphore:s")) == 1)
        outage.come_back()
        waits.result(30).release()
    outage.go()
    with pytest.raises(RedisConnectionError):
        lot.acquire(0.1)


def test_a_renewal_that_comes_late_does_not_bring_back_what_was_given_back(app: Celery) -> None:
    """It was under way when the permit was released."""
    with semaphore("s", 1, ttl=60, app=app).acquire() as permit:
        pass
    for is_renewed in (True, False):
        keeper_of(app)._settle(permit, boot_clock_s(), is_renewed=is_renewed)
        assert not permit.is_held()


def test_a_child_has_no_part_in_what_its_parent_holds(app: Celery) -> None:
    """Neither in its lead nor in its permits; it may ask for its own."""
    lot = semaphore("s", 2, ttl=60, app=app)
    with elect_leader("e", ttl=60, app=app) as lead, lot.acquire() as permit:
        assert lead.wait(10)

        def child() -> bool:
            lead.stop()
            is_apart = not (lead.is_leader() or lead.fence or permit.is_held() or permit.release())
            with semaphore("s", 2, ttl=60, app=app).acquire(5) as own:
                return is_apart and own.is_held() and keeper_of(app).pid != permit._pid

        assert forked(child) == 0
        assert lead.is_leader()
        assert permit.is_held()
        assert client_of(app).zcard(settings_of(app).keys.granted("semaphore:s")) == 1


def test_a_machine_without_threads_keeps_no_lease_that_nobody_renews(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be renewed goes back at once; the next is renewed, when there are threads again."""
    pool = semaphore("s", 1, ttl=0.5, app=app)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="new thread"):
            pool.acquire()
    with pool.acquire(0) as permit:
        begin_s = boot_clock_s()
        eventually(lambda: boot_clock_s() > begin_s + 2 * permit.ttl_s)
        eventually(permit.is_held)
