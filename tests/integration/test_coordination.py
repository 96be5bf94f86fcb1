"""Leaders, barriers, semaphores and pools, as processes use them."""

from __future__ import annotations

import asyncio
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.agents.coordination import (
    BarrierBroken,
    BarrierMismatch,
    GrantLost,
    LeadLost,
    ResourceTimeout,
    barrier,
    elect_leader,
    resource_pool,
    semaphore,
)
from hardening.agents.coordination.keeper import keeper_of
from hardening.core import telemetry
from hardening.core.deployment import client_of, settings_of
from hardening.core.errors import ConfigError
from hardening.core.scripts import Call
from tests.eventually import eventually
from tests.forked import forked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.one_server


class Away:
    """Whether Redis answers to scripts; if not, how often it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.only = ""
        self._patch = monkeypatch
        self._run = Call.run

    def go(self, only: str = "", *, after: bool = False) -> None:
        """From now on it does not, or only after it did what it was asked."""

        def run(call: Call, client: Any) -> Any:
            if only and call.script.name != only:
                return self._run(call, client)
            self.asked += 1
            if after:
                self._run(call, client)
            raise RedisConnectionError("away")

        self._patch.setattr(Call, "run", run)

    def come_back(self) -> None:
        """It answers again."""
        self._patch.setattr(Call, "run", self._run)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Away:
    """Redis, which is there, and may go."""
    return Away(monkeypatch)


@pytest.fixture
def told() -> Iterator[list[telemetry.Event]]:
    """What is emitted."""
    with telemetry.capture("hardening") as events:
        yield events


def names(events: list[telemetry.Event]) -> list[str]:
    """Their names."""
    return [event.name.removeprefix("hardening.") for event in events]


# -- elections


def test_one_of_several_leads_and_the_next_follows_at_once(app: Celery, told: list[telemetry.Event]) -> None:
    """When it resigns; its lease is long."""
    gained: list[int] = []
    lost: list[int] = []
    first = elect_leader("e", candidate="one", ttl=60, on_gained=gained.append, on_lost=lost.append, app=app)
    assert first.wait(10)
    with elect_leader("e", ttl=60, app=app) as second:
        assert not second.wait(0.3)
        assert (second.fence, first.fence, first.must_lead()) == (0, 1, 1)
        with pytest.raises(LeadLost, match=r"does not lead 'e': do nothing") as error:
            second.must_lead()
        assert (error.value.election, error.value.candidate) == ("e", second.candidate)
        first.stop()
        assert not first.is_leader()
        assert second.wait(20)
        assert second.fence == 2
    eventually(lambda: (gained, lost) == ([1], [1]))
    assert not second.is_leader()
    assert names(told) == ["lead.gained", "lead.ended", "lead.gained", "lead.ended"]
    assert first.candidate.startswith("one:")
    assert not second.wait(10)  # it stands no more, so it does not wait
    first.stop()
    assert client_of(app).get(settings_of(app).keys.election("e")) is None


def test_candidates_of_one_name_are_two(app: Celery) -> None:
    """Or both would lead."""
    with elect_leader("e", candidate="x", ttl=60, app=app) as one, elect_leader("e", candidate="x", app=app) as two:
        assert eventually(lambda: one.is_leader() or two.is_leader())
        assert not (one.wait(0.3) and two.wait(0.3))


def test_a_leader_renews(app: Celery) -> None:
    """Under the same number, for longer than its lease."""
    with elect_leader("e", ttl=1.5, app=app) as lead:
        assert lead.wait(10)
        key, client = settings_of(app).keys.election("e"), client_of(app)
        client.pexpire(key, 60_000)
        eventually(lambda: client.pttl(key) <= 1500)
        assert lead.fence == 1


def test_a_leader_that_cannot_renew_knows_when_its_lease_is_over(
    app: Celery, away: Away, told: list[telemetry.Event]
) -> None:
    """By its own clock; and it stands again when Redis is back."""
    lost: list[int] = []
    with elect_leader("e", ttl=0.5, on_lost=lost.append, app=app) as lead:
        assert lead.wait(10)
        away.go()
        eventually(lambda: not lead.is_leader())
        eventually(lambda: lost == [1])
        away.come_back()
        assert lead.wait(10)
        assert lead.fence > 1
        away.go()
    assert not lead.is_leader()  # it could not resign; nothing is raised
    assert {"lead.gained", "lead.ended", "lead.not_asked"} == set(names(told))
    whys = [event.why for event in told if hasattr(event, "why")]
    assert (whys[0], whys[-1]) == ("expired", "resigned")


def test_who_is_superseded_is_told(app: Celery, told: list[telemetry.Event]) -> None:
    """Redis says that another leads, though its own clock does not."""
    with elect_leader("e", ttl=0.9, app=app) as lead:
        assert lead.wait(10)
        client_of(app).set(settings_of(app).keys.election("e"), "9 other", px=60_000)
        eventually(lambda: not lead.is_leader())
        eventually(lambda: "lead.ended" in names(told))
    assert told[-1].why == "taken"  # type: ignore[attr-defined]


def test_what_a_callback_raises_harms_nobody(app: Celery, told: list[telemetry.Event]) -> None:
    """It is told; the lead goes on, and so do the next calls."""
    calls: list[int] = []

    def fail(fence: int) -> None:
        calls.append(fence)
        raise ValueError(fence)

    with elect_leader("e", ttl=60, on_gained=fail, on_lost=calls.append, app=app) as lead:
        eventually(lambda: "lead.tell_failed" in names(told))
        assert lead.is_leader()
    eventually(lambda: calls == [1, 1])


async def _await_both(app: Celery) -> None:
    with elect_leader("e", ttl=60, app=app) as one:
        assert await one.await_lead(10)
        with elect_leader("e", ttl=60, app=app) as two:
            assert not await two.await_lead(0.1)
            waits = asyncio.create_task(two.await_lead(20))
            await asyncio.sleep(0)
            await asyncio.to_thread(one.stop)
            assert await waits
            waits = asyncio.create_task(one.await_lead(20))
            await asyncio.sleep(0)
            assert not await waits  # it stands no more


def test_a_coroutine_waits_for_the_lead(app: Celery) -> None:
    """Without a thread of its own."""
    asyncio.run(_await_both(app))


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


# -- barriers


def parties(many: int, party: Callable[[], int]) -> list[Any]:
    """What so many threads come to; an error is a result."""

    def caught() -> Any:
        try:
            return party()
        except BarrierBroken as error:
            return error

    with ThreadPoolExecutor(many) as threads:
        return [future.result(30) for future in [threads.submit(caught) for _ in range(many)]]


def test_a_barrier_serves_again_and_again(app: Celery) -> None:
    """Each time for one more generation; nobody is let through early."""
    meeting = barrier("b", 3, 30, app=app)
    assert [parties(3, meeting.wait) for _ in range(3)] == [[0] * 3, [1] * 3, [2] * 3]
    assert barrier("alone", 1, app=app).wait(0) == 0


def test_who_times_out_breaks_it_for_all_who_wait(app: Celery, told: list[telemetry.Event]) -> None:
    """All hear why, and how many had come; at once, and not when their own time is over."""
    meeting = barrier("b", 3, 60, app=app)
    waits = iter([60.0, 0.5])
    first, second = parties(2, lambda: meeting.wait(next(waits)))
    for error in (first, second):
        assert (error.came, error.parties, error.why, error.generation) == (2, 3, "timeout", 0)
        assert str(pickle.loads(pickle.dumps(error))) == "the barrier 'b' is broken (timeout): 2 of 3 parties had come"  # noqa: S301
    assert names(told) == ["barrier.failed"] * 2
    assert parties(3, meeting.wait) == [1] * 3


def test_who_is_interrupted_breaks_it(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """As does who is asked to."""
    meeting = barrier("b", 2, 60, app=app)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(meeting, "_listen", interrupted)
        with pytest.raises(KeyboardInterrupt):
            meeting.wait()
    client: Any = client_of(app)
    keys = settings_of(app).keys
    assert dict(client.xrange(keys.barrier_over(0, "b"))[0][1])[b"outcome"] == b"left"
    with ThreadPoolExecutor(1) as threads:
        waits = threads.submit(meeting.wait)
        eventually(lambda: client.zcard(keys.barrier_parties(1, "b")))
        meeting.abort()
        with pytest.raises(BarrierBroken, match="aborted"):
            waits.result(10)


def test_parties_must_agree_how_many_they_are(app: Celery) -> None:
    """Who does not is told, and those who wait go on."""
    with ThreadPoolExecutor(1) as threads:
        waits = threads.submit(barrier("b", 2, 60, app=app).wait)
        eventually(lambda: client_of(app).exists(settings_of(app).keys.barrier("b")))
        with pytest.raises(BarrierMismatch, match=r"'b' is for 2 parties, as those say who wait there, not 3") as error:
            barrier("b", 3, app=app).wait()
        assert (error.value.parties, error.value.others) == (3, 2)
        assert barrier("b", 2, app=app).wait(20) == waits.result(10)


def test_a_party_outlives_an_outage(app: Celery, away: Away) -> None:
    """Shorter than its time; a lost reply makes it no second party. A longer one breaks it for itself."""
    meeting = barrier("b", 2, 60, lease=30, app=app)
    away.go("meet", after=True)
    with ThreadPoolExecutor(1) as threads:
        waits = threads.submit(meeting.wait)
        eventually(lambda: away.asked >= 3)
        away.come_back()
        assert meeting.wait(20) == waits.result(20) == 0
        waits = threads.submit(meeting.wait, 1.0)
        eventually(lambda: client_of(app).zcard(settings_of(app).keys.barrier_parties(1, "b")))
        away.go("meet")
        with pytest.raises(BarrierBroken, match="unreachable"):
            waits.result(20)
        with pytest.raises(RedisConnectionError):
            meeting.wait(0.15)


# -- semaphores and pools


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
    app: Celery, away: Away, told: list[telemetry.Event]
) -> None:
    """By its own clock. Who waits meanwhile goes on waiting; a lost reply costs no permit."""
    lot = semaphore("s", 1, ttl=0.9, app=app)
    with lot.acquire() as permit:
        away.go("renew_grants")
        eventually(lambda: not permit.is_held())
        away.come_back()
        eventually(permit.is_held)
        away.go("give_back")
    assert not permit.is_held()
    assert set(names(told)) == {"grant.renew_failed"}
    away.come_back()
    with ThreadPoolExecutor(1) as threads:
        away.go("grant", after=True)
        waits = threads.submit(lot.acquire, 30)
        eventually(lambda: away.asked > 3)
        eventually(lambda: client_of(app).zcard(settings_of(app).keys.granted("semaphore:s")) == 1)
        away.come_back()
        waits.result(30).release()
    away.go()
    with pytest.raises(RedisConnectionError):
        lot.acquire(0.1)


def test_what_makes_no_sense_is_said_in_a_line(app: Celery) -> None:
    """With what was expected, before Redis is asked anything."""
    wrong: dict[str, Callable[[], Any]] = {
        "name is '', expected a name": lambda: elect_leader("", app=app),
        "candidate is 'a\\\\nb', expected a name": lambda: elect_leader("e", candidate="a\nb", app=app),
        "ttl is 0.1, expected seconds, from 0.3": lambda: elect_leader("e", ttl=0.1, app=app),
        "name is ' x', expected a name": lambda: barrier(" x", 2, app=app),
        "n is 0, expected how many parties": lambda: barrier("b", 0, app=app),
        "n is True, expected how many parties": lambda: barrier("b", True, app=app),  # noqa: FBT003
        "timeout is nan, expected seconds": lambda: barrier("b", 2, float("nan"), app=app),
        "timeout is -1, expected seconds": lambda: barrier("b", 2, app=app).wait(-1),
        "lease is '3', expected seconds": lambda: barrier("b", 2, lease="3", app=app),  # type: ignore[arg-type]
        "permits is 0, expected how many": lambda: semaphore("s", 0, app=app),
        "timeout is True, expected seconds": lambda: semaphore("s", 1, app=app).acquire(timeout=True),
        "resources is 'ab', expected several": lambda: resource_pool("p", "ab", app=app),
        "0 resources, expected from 1": lambda: resource_pool("p", [], app=app),
        "a resource is '', expected a name": lambda: resource_pool("p", [""], app=app),
        "ttl is 0, expected seconds": lambda: resource_pool("p", ["a"], ttl=0, app=app),
    }
    for message, call in wrong.items():
        with pytest.raises(ValueError, match=message):
            call()
    plain = Celery("plain", set_as_current=False)
    for make in (lambda: elect_leader("e", app=plain), lambda: barrier("b", 2, app=plain)):
        with pytest.raises(ConfigError, match="is not hardened"):
            make()
    assert not client_of(app).keys(f"{settings_of(app).prefix}:*")
