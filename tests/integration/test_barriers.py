"""Barriers, as parties wait at them."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from redis.exceptions import ConnectionError as RedisConnectionError

from hardening.agents.coordination import (
    BarrierBroken,
    BarrierMismatch,
    barrier,
    elect_leader,
    resource_pool,
    semaphore,
)
from hardening.core.deployment import client_of, settings_of
from hardening.core.errors import ConfigError
from tests.eventually import eventually
from tests.integration.coordinating import Outage, names, parties

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.core import telemetry

pytestmark = pytest.mark.one_server


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


def test_a_party_outlives_an_outage(app: Celery, outage: Outage) -> None:
    """Shorter than its time; a lost reply makes it no second party. A longer one breaks it for itself."""
    meeting = barrier("b", 2, 60, lease=30, app=app)
    outage.go("meet", after=True)
    with ThreadPoolExecutor(1) as threads:
        waits = threads.submit(meeting.wait)
        eventually(lambda: outage.asked >= 3)
        outage.come_back()
        assert meeting.wait(20) == waits.result(20) == 0
        waits = threads.submit(meeting.wait, 1.0)
        eventually(lambda: client_of(app).zcard(settings_of(app).keys.barrier_parties(1, "b")))
        outage.go("meet")
        with pytest.raises(BarrierBroken, match="unreachable"):
            waits.result(20)
        with pytest.raises(RedisConnectionError):
            meeting.wait(0.15)


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
