"""The scripts of breakers: what opens one, who may probe, and what changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import OutOfMemoryError

from hardening.core.scripts import breaking
from hardening.core.scripts.breaking import NEVER, Rates, Seen, Tally
from tests.eventually import eventually

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys

RATES = Rates(0.5, NEVER, 4, 10_000, 60_000, 2)


class Desk:
    """One breaker ``b`` in Redis."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self.client = client
        self.keys = keys

    def report(
        self, generation: int, calls: int = 0, failures: int = 0, slow: int = 0, *ended: str, rates: Rates = RATES
    ) -> Seen:
        """Reports results."""
        tally = Tally(generation, calls, failures, slow)
        return Seen.parse(breaking.report(self.keys, "b", "us", tally, rates, ended).run(self.client))

    def probe(self, token: str, *, rates: Rates = RATES) -> Seen:
        """Asks for a place."""
        return Seen.parse(breaking.probe(self.keys, "b", "us", rates, token).run(self.client))

    def force(self, state: Any, for_ms: int = 0) -> Seen:
        """By hand."""
        return Seen.parse(breaking.force(self.keys, "b", "me", "test", state, for_ms=for_ms).run(self.client))

    def pass_time(self) -> None:
        """The pause is over."""
        self.client.hset(self.keys.breaker("b"), "until_ms", 1)

    def half_open(self) -> int:
        """A breaker whose pause is over, with one probe ``p``; returns its generation."""
        self.force("open", 60_000)
        self.pass_time()
        seen = self.probe("p")
        assert (seen.state, seen.is_granted) == ("half_open", True)
        return seen.generation

    def tenths(self) -> dict[bytes, bytes]:
        """Its window."""
        return {name: value for name, value in self.fields().items() if name[:1] == b"w" and name[1:].isdigit()}

    def fields(self) -> dict[bytes, bytes]:
        """All that is stored of it."""
        stored: Any = self.client.hgetall(self.keys.breaker("b"))
        return dict(stored)


@pytest.fixture
def desk(client: Redis, keys: Keys) -> Desk:
    """A breaker that has never been used."""
    return Desk(client, keys)


def test_who_only_asks_writes_nothing(desk: Desk) -> None:
    """Of what has never been used it is told that it is closed."""
    assert desk.report(0) == Seen("closed", 0, 0, "", "", is_changed=False)
    assert desk.report(7).generation == 0
    assert not desk.client.exists(desk.keys.breaker("b"), desk.keys.breakers)


def test_it_opens_at_its_rate_and_not_before_there_are_enough_calls(desk: Desk) -> None:
    """Then its window is empty, and a new generation begins."""
    assert desk.report(0, 3, 3).state == "closed"
    seen = desk.report(0, 1)
    assert seen == Seen("open", 1, 60_000, "us", "3 of 4 failed", is_changed=True)
    assert not desk.tenths()
    assert desk.client.smembers(desk.keys.breakers) == {b"b"}


def test_below_its_rate_it_stays_closed(desk: Desk) -> None:
    """Whatever the number of calls."""
    assert desk.report(0, 1000, 499).state == "closed"
    assert desk.report(0, 1, 1).state == "closed"
    assert desk.report(0, 1, 1).state == "open"


def test_slow_calls_open_it_only_where_they_count(desk: Desk) -> None:
    """A rate that is never reached says that they do not."""
    assert desk.report(0, 10, 0, 10).state == "closed"
    seen = desk.report(0, 10, 0, 0, rates=RATES._replace(slow_rate=0.5))
    assert (seen.state, seen.why) == ("open", "10 of 20 were slow")


def test_what_is_older_than_the_window_does_not_count(desk: Desk) -> None:
    """It goes with the next report; so does what another width of the window, or a clock set back, has left."""
    desk.report(0, 3, 3)
    (mine,) = desk.tenths()
    tenth = int(mine[1:])
    key = desk.keys.breaker("b")
    desk.client.hset(key, mapping={f"w{tenth - 10}": "9 9 0", f"w{tenth + 1000}": "9 9 0", f"w{tenth - 8}": "1 0 0"})
    desk.client.hdel(key, mine)
    assert desk.report(0, 2, 1).state == "closed"
    assert sorted(desk.tenths().values()) == [b"1 0 0", b"2 1 0"]


def test_results_of_another_generation_change_nothing(desk: Desk) -> None:
    """Neither those of a time when it was closed, nor those of probes of another time."""
    old = desk.half_open()
    desk.report(old, 1, 1, 0, "p")  # reopened
    desk.pass_time()
    now = desk.probe("q")
    before, probes = desk.fields(), desk.client.zrange(desk.keys.breaker_probes("b"), 0, -1)
    for generation in (0, old, now.generation + 1):
        told = desk.report(generation, 100, 100, 0, "q")
        assert (told.state, told.generation, told.is_changed) == ("half_open", now.generation, False)
        assert desk.report(generation, 100).generation == now.generation
    assert (desk.fields(), desk.client.zrange(desk.keys.breaker_probes("b"), 0, -1)) == (before, probes)


def test_half_open_as_many_probe_as_there_are_places(desk: Desk) -> None:
    """Those that succeeded count too, until there are enough of them to close it."""
    generation = desk.half_open()
    assert desk.probe("q").is_granted
    assert desk.probe("p").is_granted  # asked again after a lost reply: the same place
    refused = desk.probe("r")
    assert not refused.is_granted
    assert 0 < refused.left_ms <= 60_000
    assert desk.report(generation, 1, 0, 0, "p").state == "half_open"
    assert not desk.probe("r").is_granted
    seen = desk.report(generation, 1, 0, 0, "q")
    assert (seen.state, seen.generation, seen.why) == ("closed", generation + 1, "2 probes succeeded")
    assert desk.client.zcard(desk.keys.breaker_probes("b")) == 0


def test_a_probe_that_says_nothing_gives_its_place_to_the_next(desk: Desk) -> None:
    """It ended, and did not count."""
    generation = desk.half_open()
    desk.probe("q")
    assert desk.report(generation, 0, 0, 0, "q").state == "half_open"
    assert desk.probe("r").is_granted


@pytest.mark.parametrize(("failures", "slow", "why"), [(1, 0, "a probe failed"), (0, 1, "a probe was slow")])
def test_one_bad_probe_opens_it_again(desk: Desk, failures: int, slow: int, why: str) -> None:
    """For another pause."""
    generation = desk.half_open()
    seen = desk.report(generation, 1, failures, slow, "p", rates=RATES._replace(slow_rate=1.0))
    assert (seen.state, seen.left_ms, seen.why) == ("open", 60_000, why)


def test_a_slow_probe_is_as_good_as_any_where_slowness_does_not_count(desk: Desk) -> None:
    """It is a success."""
    generation = desk.half_open()
    assert desk.report(generation, 1, 0, 1, "p", rates=RATES._replace(probes=1)).state == "closed"


def test_the_place_of_a_prober_that_is_not_heard_of_again_comes_back(desk: Desk) -> None:
    """After its lease, which is as long as the pause."""
    brief = RATES._replace(open_ms=100, probes=1)
    desk.force("open", 1)
    eventually(lambda: desk.probe("p", rates=brief).is_granted)
    assert not desk.probe("q", rates=brief).is_granted
    eventually(lambda: desk.probe("q", rates=brief).is_granted)
    desk.half_open()
    desk.client.zadd(desk.keys.breaker_probes("b"), {"dead": 1})
    assert desk.probe("q").is_granted
    assert desk.client.zscore(desk.keys.breaker_probes("b"), "dead") is None


def test_an_open_breaker_cannot_be_probed_before_its_pause_is_over(desk: Desk) -> None:
    """Nor one that was opened by hand without an end."""
    desk.force("open", 60_000)
    assert (desk.probe("p").state, desk.probe("p").is_granted) == ("open", False)
    assert desk.force("open").left_ms == -1
    assert (desk.probe("p").state, desk.probe("p").is_granted) == ("open", False)
    assert desk.client.ttl(desk.keys.breaker("b")) == -1


def test_by_hand_each_change_is_a_new_generation(desk: Desk) -> None:
    """So that what is on its way does not undo it; reset forgets the name, and keeps counting generations."""
    desk.report(0, 3, 3)
    assert desk.force("closed") == Seen("closed", 1, 0, "me", "by hand: test", is_changed=True)
    assert desk.force("closed").is_forced
    assert desk.report(0, 10, 10).state == "closed"
    assert desk.client.smembers(desk.keys.breakers) == {b"b"}
    assert desk.force("reset").generation == 3
    assert desk.client.smembers(desk.keys.breakers) == set()
    assert desk.report(3, 4, 2).why == "2 of 4 failed"


def test_what_is_not_used_for_a_week_goes(desk: Desk) -> None:
    """Unless it was opened by hand without an end."""
    desk.report(0, 1)
    assert 0 < desk.client.pttl(desk.keys.breaker("b")) <= 604_800_000
    desk.half_open()
    assert 0 < desk.client.pttl(desk.keys.breaker_probes("b")) <= 120_000


@pytest.mark.one_server
def test_all_of_it_works_on_a_full_redis(own_server: EmbeddedRedis, keys: Keys) -> None:
    """Results count, probes are let through, and it can be forced."""
    with own_server.client() as client:
        desk = Desk(client, keys)
        client.config_set("maxmemory", 1)
        with pytest.raises(OutOfMemoryError):
            client.set("more", "x")
        assert desk.report(0, 4, 4).state == "open"
        desk.force("open", 1)
        eventually(lambda: desk.probe("p").is_granted)
        generation = desk.probe("q").generation
        assert desk.report(generation, 2, 0, 0, "p", "q").state == "closed"
        assert desk.force("reset").state == "closed"
