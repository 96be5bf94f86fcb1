"""Leases: who is alive, who says so, and what an outage changes about it."""

from __future__ import annotations

import itertools
import json
import os
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.core import telemetry
from hardening.core.membership import Lease, boot_clock_s
from tests.eventually import eventually
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis

pytestmark = pytest.mark.one_server


@dataclass
class Member:
    """A lease, and what it called back."""

    lease: Lease
    reaped: list[tuple[str, str]] = field(default_factory=list)
    beats: list[float] = field(default_factory=list)


@contextmanager
def member_of(
    stage: Stage, client: Redis, *, ttl_s: float = 0.6, on_beat: Callable[[], None] = lambda: None
) -> Iterator[Member]:
    """A lease that is not started yet, and is stopped in the end."""

    def reaped(lost: str) -> None:
        member.reaped.append((lost, lease.consumer))

    def beat() -> None:
        member.beats.append(boot_clock_s())
        on_beat()

    lease = Lease(client, stage.keys, ttl_s=ttl_s, on_reaped=reaped, on_beat=beat)
    member = Member(lease)
    yield member
    lease.stop()


@pytest.fixture
def member(stage: Stage, client: Redis) -> Iterator[Member]:
    """One lease of 0.6 seconds."""
    with member_of(stage, client) as member:
        yield member


def test_a_lease_is_taken_and_kept(stage: Stage, member: Member) -> None:
    """For longer than it lasts without renewal; the member says who it is."""
    with telemetry.capture("hardening.consumer") as events:
        member.lease.start()
        name = member.lease.consumer
        eventually(lambda: len(member.beats) >= 7)
    assert stage.state() == State(leases={name})
    assert (member.lease.consumer, member.lease.is_held(), member.reaped) == (name, True, [])
    assert events == [telemetry.ConsumerJoined(consumer=name)]
    about = json.loads(stage.client.hget(stage.keys.members, name))
    assert about == {"host": socket.gethostname(), "pid": os.getpid()}


def test_starting_twice_is_as_good_as_once(stage: Stage, member: Member) -> None:
    """One name, one thread."""
    before = threading.enumerate()
    for _ in range(3):
        member.lease.start()
    assert [thread.name for thread in threading.enumerate() if thread not in before] == ["hardening-lease"]
    assert stage.state() == State(leases={member.lease.consumer})


def test_a_lease_that_was_not_started_is_not_held(member: Member) -> None:
    """Nothing may begin before Redis knows of us."""
    assert not member.lease.is_held()
    member.lease.stop()


def test_a_lease_is_held_until_its_time_by_our_own_clock(member: Member) -> None:
    """Whatever Redis would say: a process that was cut off must know by itself."""
    asked_s = boot_clock_s()
    assert member.lease.renew()
    assert member.lease.is_held()
    eventually(lambda: not member.lease.is_held(), 5)
    assert 0.6 <= boot_clock_s() - asked_s < 2.0


def test_who_was_reaped_takes_a_new_name(stage: Stage, client: Redis) -> None:
    """It hears of it once, with the name it lost, when the new one is set already; then it goes on."""
    with member_of(stage, client, ttl_s=60) as member:
        assert member.lease.renew()
        lost = member.lease.consumer
        stage.expire(lost)
        stage.recover()
        assert [member.lease.renew(), member.lease.renew()] == [False, True]
        assert member.reaped == [(lost, member.lease.consumer)]
        assert member.lease.consumer != lost
        assert member.lease.is_held()
        assert stage.state() == State(leases={member.lease.consumer})


def test_the_renewer_finds_out_that_it_was_reaped(stage: Stage, member: Member) -> None:
    """Within a third of the lease, by itself."""
    member.lease.start()
    lost = member.lease.consumer
    stage.expire(lost)
    stage.recover()
    eventually(lambda: member.reaped)
    eventually(lambda: stage.state() == State(leases={member.lease.consumer}))
    assert member.reaped == [(lost, member.lease.consumer)]


def test_a_lease_that_ran_out_but_was_not_taken_away_is_renewed(stage: Stage, member: Member) -> None:
    """Its messages are all still there, so its name is, too."""
    member.lease.renew()
    name = member.lease.consumer
    stage.expire(name)
    assert member.lease.renew()
    assert (stage.state(), member.reaped) == (State(leases={name}), [])


def test_who_stops_leaves(stage: Stage, member: Member) -> None:
    """Nothing is held any more, and nothing renews. Stopping twice is as good as once."""
    before = threading.enumerate()
    member.lease.start()
    name = member.lease.consumer
    with telemetry.capture("hardening") as events:
        member.lease.stop()
        member.lease.stop()
    assert not member.lease.is_held()
    assert stage.state() == State()
    assert events == [telemetry.ConsumerLeft(consumer=name, left_behind=0)]
    assert [thread for thread in threading.enumerate() if thread not in before] == []


def test_who_knows_that_redis_is_away_stops_without_asking_it(stage: Stage, member: Member) -> None:
    """The lease runs out by itself; nothing renews it."""
    before = threading.enumerate()
    member.lease.start()
    name = member.lease.consumer
    with telemetry.capture("hardening") as events:
        member.lease.stop(leave=False)
    assert not member.lease.is_held()
    assert stage.state() == State(leases={name})
    assert events == []
    eventually(lambda: not [thread for thread in threading.enumerate() if thread not in before])


def test_a_lease_can_be_stopped_by_its_own_thread(stage: Stage, client: Redis) -> None:
    """A chore may find that it is time to go; it does not wait for itself."""
    going: list[Lease] = []

    def go() -> None:
        going[0].stop()

    with member_of(stage, client, on_beat=go) as member:
        going.append(member.lease)
        member.lease.start()
        eventually(lambda: stage.state() == State())
        assert not member.lease.is_held()


def test_a_name_is_never_used_again(stage: Stage, member: Member) -> None:
    """Who left messages behind is being recovered under the old name, while it starts anew."""
    member.lease.start()
    left = member.lease.consumer
    stage.publish("a")
    stage.take(left)
    member.lease.stop()
    assert stage.state() == State(inflight={left: ["a"]}, dead={left})
    member.lease.start()
    assert member.lease.consumer != left
    assert stage.state() == State(inflight={left: ["a"]}, dead={left}, leases={member.lease.consumer})
    assert member.reaped == []


def test_two_leases_of_one_process_are_two_consumers(stage: Stage, client: Redis, server: EmbeddedRedis) -> None:
    """One may be reaped and the other live on."""
    with server.client() as other, member_of(stage, client) as one, member_of(stage, other) as two:
        one.lease.start()
        two.lease.start()
        first, second = one.lease.consumer, two.lease.consumer
        assert stage.state() == State(leases={first, second})
        stage.expire(first)
        stage.recover()
        eventually(lambda: one.reaped)
        eventually(lambda: stage.state() == State(leases={one.lease.consumer, second}))
        assert two.reaped == []
    assert stage.state() == State()


def test_a_start_without_redis_fails_and_may_be_repeated(own_server: EmbeddedRedis, prefix: str) -> None:
    """No thread is left behind that would never have a lease."""
    with own_server.client(socket_timeout=1.0) as client:
        stage = Stage(client, prefix)
        own_server.kill()
        with member_of(stage, client) as member:
            with pytest.raises(RedisConnectionError):
                member.lease.start()
            own_server.restart()
            member.lease.start()
            assert stage.state() == State(leases={member.lease.consumer})


def test_the_renewer_survives_an_outage_and_is_not_steady_after_it(own_server: EmbeddedRedis, prefix: str) -> None:
    """Here Redis comes back with nothing: everybody was reaped, and nobody may be declared dead for a lease."""
    with own_server.client(socket_timeout=1.0) as client, telemetry.capture("hardening.lease") as events:
        stage = Stage(client, prefix)
        with member_of(stage, client, ttl_s=0.9) as member:
            member.lease.start()
            lost = member.lease.consumer
            own_server.kill()
            eventually(lambda: events)
            eventually(lambda: not member.lease.is_held())
            assert not member.lease.is_steady()
            own_server.restart()
            back_s = boot_clock_s()
            eventually(member.lease.is_held)
            assert not member.lease.is_steady()
            eventually(member.lease.is_steady)
            assert boot_clock_s() - back_s >= 0.8
            assert member.reaped == [(lost, member.lease.consumer)]
            assert stage.state() == State(leases={member.lease.consumer})
    assert {event.consumer for event in events if isinstance(event, telemetry.LeaseRenewFailed)} == {lost}


def test_a_redis_that_has_just_started_is_not_steady(own_server: EmbeddedRedis, prefix: str) -> None:
    """Those who held leases before may not be back yet, wherever they are."""
    with own_server.client() as client, member_of(Stage(client, prefix), client, ttl_s=300) as member:
        member.lease.start()
        assert not member.lease.is_steady()


def test_a_redis_that_has_run_for_long_is_steady(stage: Stage, client: Redis) -> None:
    """A consumer may sweep from its first beat on."""
    eventually(lambda: client.info("server")["uptime_in_seconds"] >= 1)
    with member_of(stage, client, ttl_s=0.5) as member:
        member.lease.start()
        assert member.lease.is_steady()


def test_a_stop_without_redis_still_ends_it(own_server: EmbeddedRedis, prefix: str) -> None:
    """The lease runs out by itself; that it could not be ended is told."""
    with own_server.client(socket_timeout=1.0) as client, telemetry.capture("hardening.lease") as events:
        with member_of(Stage(client, prefix), client) as member:
            member.lease.start()
            own_server.kill()
            member.lease.stop()
            assert not member.lease.is_held()
        assert isinstance(events[-1], telemetry.LeaseRenewFailed)


@pytest.mark.parametrize("error", [ValueError("a backend is down"), RedisConnectionError("Redis is away")])
def test_a_chore_that_fails_does_not_cost_the_lease(stage: Stage, client: Redis, error: Exception) -> None:
    """Whatever it raises: a thread that died of it would have all that runs here repeated elsewhere."""
    chores = itertools.count()

    def chore() -> None:
        if next(chores) < 3:
            raise error

    with telemetry.capture("hardening") as events, member_of(stage, client, on_beat=chore) as member:
        member.lease.start()
        name = member.lease.consumer
        eventually(lambda: len(member.beats) >= 7)
        assert stage.state() == State(leases={name})
        assert member.lease.is_held()
    told = telemetry.ChoreFailed if isinstance(error, ValueError) else telemetry.LeaseRenewFailed
    assert events[1:4] == [told(consumer=name, error=repr(error))] * 3
