"""The scripts of leads, barriers, semaphores and pools: who has what, and what the dead leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import OutOfMemoryError

from hardening.core.embedded import EmbeddedRedis
from hardening.core.scripts import coordinating
from hardening.core.scripts.coordinating import Claim, Elected, Granted, Met
from tests.eventually import eventually

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.keys import Keys

_LONG_MS = 60_000


class Desk:
    """One election ``e``, one barrier ``b`` and one lot ``l``."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self.client: Any = client
        self.keys = keys

    def elect(self, candidate: str, ttl_ms: int = _LONG_MS) -> Elected:
        """Stands for election."""
        return Elected.parse(coordinating.elect(self.keys, "e", candidate, ttl_ms).run(self.client))

    def resign(self, token: str) -> int:
        """Gives the lead away."""
        return int(coordinating.resign_lead(self.keys, "e", token).run(self.client))

    def meet(
        self, party: str, generation: int | None = None, *, parties: int = 2, lease_ms: int = _LONG_MS, why: str = ""
    ) -> Met:
        """Comes to the barrier, or goes on waiting."""
        call = coordinating.meet(
            self.keys, "b", party, parties, generation=generation, lease_ms=lease_ms, keep_ms=_LONG_MS, why=why
        )
        return Met.parse(call.run(self.client))

    def silence(self, key: str, member: str) -> None:
        """The lease of somebody has run out, and nobody has noticed."""
        assert self.client.zadd(key, {member: 1}, xx=True, ch=True) == 1

    def grant(self, name: str, *resources: str, permits: int = 1, ttl_ms: int = _LONG_MS) -> Granted:
        """Asks for a permit."""
        call = coordinating.grant(
            self.keys, Claim("l", name, ttl_ms), patience_ms=_LONG_MS, permits=permits, resources=resources
        )
        return Granted.parse(call.run(self.client))

    def give_back(self, name: str) -> int:
        """Gives it back, or leaves the line."""
        return int(coordinating.give_back(self.keys, Claim("l", name, 1)).run(self.client))

    def renew(self, *names: str, ttl_ms: int = _LONG_MS) -> list[int]:
        """Renews permits."""
        claims = [Claim("l", name, ttl_ms) for name in names]
        return list(coordinating.renew_grants(self.keys, claims).run(self.client))

    def rung(self) -> set[str]:
        """Whose bell has a token; takes it."""
        bells = {key.decode(): key for key in self.client.scan_iter(f"{self.keys.prefix}:grant:bell:*")}
        assert all(self.client.llen(key) == 1 and 0 < self.client.pttl(key) <= 60_000 for key in bells.values())
        if bells:
            self.client.delete(*bells.values())
        return {name.rpartition(":")[2] for name in bells}

    def left(self) -> set[str]:
        """What is there, without the prefix."""
        found = self.client.scan_iter(f"{self.keys.prefix}:*", count=10_000)
        return {key.decode().removeprefix(f"{self.keys.prefix}:") for key in found}


@pytest.fixture
def desk(client: Redis, keys: Keys) -> Desk:
    """Where nothing has been asked yet."""
    return Desk(client, keys)


# -- elections


def test_one_leads_and_its_lease_is_its_own(desk: Desk) -> None:
    """Who asks again renews, under the same number; another is told who leads, and for how long."""
    first = desk.elect("a")
    assert (first, first.fence) == (Elected("1 a", -1), 1)
    assert desk.elect("a", 5000) == first
    other = desk.elect("b")
    assert (other.token, other.fence) == ("1 a", 0)
    assert 0 < other.left_ms <= 5000
    assert 0 < desk.client.pttl(desk.keys.election("e")) <= 5000


def test_who_leads_next_has_a_higher_number(desk: Desk) -> None:
    """Whether the leader resigned or its lease ran out; who stands by is woken once, and no lead is given twice."""
    first = desk.elect("a")
    assert desk.resign("7 a") == 0
    assert desk.resign(first.token) == 1
    assert desk.resign(first.token) == 0
    assert desk.client.lrange(desk.keys.vacancy("e"), 0, -1) == [b"1"]
    assert desk.elect("b", 30).fence == 2
    assert not desk.client.exists(desk.keys.vacancy("e"))
    assert eventually(lambda: desk.elect("a").fence) == 3
    assert desk.resign("2 b") == 0
    assert desk.elect("b")[:1] == ("3 a",)


def test_a_lead_without_an_end_is_not_taken_for_ones_own(desk: Desk) -> None:
    """Somebody has touched the key by hand."""
    desk.elect("a")
    desk.client.persist(desk.keys.election("e"))
    told = desk.elect("b")
    assert (told.fence, told.left_ms) == (0, 0)


# -- barriers


def test_the_last_to_come_releases_all(desk: Desk) -> None:
    """All hear the same, as often as they ask; the next to come begins the next generation."""
    assert desk.meet("a", parties=3) == Met(0, 1, "", 3)
    assert desk.meet("a", parties=3) == Met(0, 1, "", 3)  # asked again after a lost reply
    assert desk.meet("b", parties=3) == Met(0, 2, "", 3)
    assert desk.meet("b", 0, parties=3) == Met(0, 2, "", 3)
    released = Met(0, 3, "released", 3)
    assert desk.meet("c", parties=3) == released
    assert [desk.meet(party, 0, parties=3) for party in "abc"] == [released] * 3
    assert desk.meet("c", parties=3) == released  # its reply was lost
    assert desk.client.xlen(desk.keys.barrier_over(0, "b")) == 1
    assert desk.meet("d", parties=3) == Met(1, 1, "", 3)
    assert desk.meet("a", 0, parties=3, why="timeout") == released  # too late to break it


def test_who_gives_up_breaks_it_for_those_who_came_with_it(desk: Desk) -> None:
    """And for nobody else."""
    desk.meet("a", parties=3)
    desk.meet("b", parties=3)
    broken = Met(0, 2, "timeout", 3)
    assert desk.meet("a", 0, parties=3, why="timeout") == broken
    assert desk.meet("b", 0, parties=3) == broken
    assert desk.meet("b", 0, parties=3, why="left") == broken
    assert desk.meet("c") == Met(1, 1, "", 2)  # of whom there may be another number
    assert desk.meet("d").outcome == "released"


def test_anybody_may_break_it(desk: Desk) -> None:
    """Who has not come as well."""
    desk.meet("a")
    assert desk.meet("", why="aborted") == Met(0, 1, "aborted", 2)
    assert desk.meet("a", 0) == Met(0, 1, "aborted", 2)


def test_the_dead_break_it_whoever_notices(desk: Desk) -> None:
    """One that waits, or one that comes: that one is of the next generation."""
    parties = desk.keys.barrier_parties(0, "b")
    desk.meet("a", parties=3)
    desk.meet("b", parties=3)
    desk.silence(parties, "a")
    assert desk.meet("b", 0, parties=3) == Met(0, 2, "died", 3)
    assert desk.meet("a", 0, parties=3) == Met(0, 2, "died", 3)
    desk.meet("e", parties=3)
    desk.silence(desk.keys.barrier_parties(1, "b"), "e")
    assert desk.meet("c", parties=3) == Met(2, 1, "", 3)
    assert desk.meet("e", 1, parties=3) == Met(1, 1, "died", 3)


def test_a_party_that_was_frozen_unnoticed_goes_on(desk: Desk) -> None:
    """Nobody has missed it."""
    desk.meet("a")
    desk.silence(desk.keys.barrier_parties(0, "b"), "a")
    assert desk.meet("a", 0).outcome == ""
    assert desk.meet("b").outcome == "released"


def test_who_expects_another_number_does_not_join(desk: Desk) -> None:
    """It is told of the number, and nothing else happens."""
    desk.meet("a", parties=3)
    assert desk.meet("b", parties=2) == Met(0, 1, "mismatch", 3)
    assert desk.client.zrange(desk.keys.barrier_parties(0, "b"), 0, -1) == [b"a"]


def test_what_a_barrier_leaves_goes_by_itself(desk: Desk) -> None:
    """And what it has forgotten it does not invent."""
    desk.meet("a")
    assert desk.left() == {"barrier:at:b", "barrier:parties:0:b"}
    desk.meet("b")
    assert desk.left() == {"barrier:at:b", "barrier:parties:0:b", "barrier:over:0:b"}
    left = {key: desk.client.pttl(f"{desk.keys.prefix}:{key}") for key in desk.left()}
    assert all(0 < ms <= _LONG_MS for key, ms in left.items() if key != "barrier:at:b")
    assert _LONG_MS < left["barrier:at:b"] <= 2 * _LONG_MS  # its numbers do not begin anew before the others are gone
    desk.client.delete(*(f"{desk.keys.prefix}:{key}" for key in left))
    assert desk.meet("a", 0) == Met(0, 0, "forgotten", 2)


# -- semaphores and pools


def test_no_more_is_granted_than_there_is(desk: Desk) -> None:
    """Each grant has a higher number; who asks again has the same one."""
    first, second = desk.grant("a", permits=2), desk.grant("b", permits=2)
    assert second.fence > first.fence > 0
    assert desk.grant("a", permits=2) == first
    refused = desk.grant("c", permits=2)
    assert (refused.fence, refused.ahead) == (0, 0)
    assert 0 < refused.left_ms <= _LONG_MS
    assert desk.grant("d", permits=2).ahead == 1
    assert desk.rung() == set()


def test_first_come_first_served(desk: Desk) -> None:
    """What is given back is for the first in line, who is woken; nobody passes it, also with what is new."""
    desk.grant("a")
    for name in "bcd":
        desk.grant(name)
    assert desk.give_back("a") == 1
    assert desk.rung() == {"b"}
    assert not desk.grant("e").fence
    assert not desk.grant("c").fence
    assert desk.grant("b").fence
    assert desk.give_back("c") == 0  # it waits no more
    assert desk.rung() == {"d"}
    assert desk.give_back("b") == 1
    assert desk.rung() == {"d"}
    assert desk.grant("d").fence


def test_who_takes_the_first_of_several_wakes_the_next(desk: Desk) -> None:
    """Two were given back, and rang for the same one."""
    for name in "abcd":
        desk.grant(name, permits=2)
    desk.give_back("a")
    desk.give_back("b")
    assert desk.rung() == {"c"}
    desk.grant("c", permits=2)
    assert desk.rung() == {"d"}


def test_each_resource_has_one_holder(desk: Desk) -> None:
    """The first that is free is given, under its name."""
    pool = ("x y", "z")
    assert [desk.grant(name, *pool, permits=2).resource for name in "ab"] == ["x y", "z"]
    assert not desk.grant("c", *pool, permits=2).fence
    desk.give_back("a")
    assert desk.grant("c", *pool, permits=2).resource == "x y"
    assert desk.grant("d", "z", "new").resource == "new"  # the pool has changed: z is still held


def test_what_the_dead_held_is_free(desk: Desk) -> None:
    """And who died in the line is passed over. The lease of a dead holder is not renewed."""
    first = desk.grant("a")
    desk.grant("b")
    desk.grant("c")
    desk.silence(desk.keys.granted("l"), "a")
    desk.silence(desk.keys.waiting("l"), "b")
    told = desk.grant("c")
    assert told.fence > first.fence
    assert desk.client.hkeys(desk.keys.grants("l")) == [b"c"]
    assert desk.renew("a", "c") == [0, 1]
    assert desk.give_back("a") == 0
    assert desk.grant("b").ahead == 0


def test_who_gives_back_wakes_nobody_that_is_dead(desk: Desk) -> None:
    """But the next."""
    for name in "abc":
        desk.grant(name)
    desk.silence(desk.keys.waiting("l"), "b")
    desk.give_back("a")
    assert desk.rung() == {"c"}


def test_a_lease_that_ran_out_unnoticed_is_renewed(desk: Desk) -> None:
    """Nobody else has it."""
    desk.grant("a")
    desk.silence(desk.keys.granted("l"), "a")
    assert desk.renew("a") == [1]
    assert not desk.grant("b").fence


def test_what_a_lot_leaves_goes_by_itself(desk: Desk) -> None:
    """At once when all is given back; else some time after the last lease."""
    desk.grant("a", ttl_ms=1000)
    desk.grant("b", ttl_ms=1000)
    assert desk.left() == {"fence", "granted:l", "grants:l", "waiters:l", "waiting:l"}
    for key in ("granted:l", "grants:l"):
        assert 1000 < desk.client.pttl(f"{desk.keys.prefix}:{key}") <= 2000
    desk.renew("a", ttl_ms=_LONG_MS)
    for key in ("granted:l", "grants:l", "waiters:l", "waiting:l"):
        assert _LONG_MS < desk.client.pttl(f"{desk.keys.prefix}:{key}") <= 2 * _LONG_MS
    desk.give_back("a")
    desk.give_back("b")
    assert desk.left() == {"fence"}


def test_all_of_it_works_on_a_full_redis(binary: str, keys: Keys) -> None:
    """Leaders go on leading, parties meet, and what is held stays held: none of it is what fills it."""
    with EmbeddedRedis(server=binary, port=0) as running, running.client() as client:
        desk = Desk(client, keys)
        desk.elect("a")
        desk.meet("a")
        desk.grant("a")
        desk.grant("b")
        client.config_set("maxmemory", 1)
        client.script_flush()
        with pytest.raises(OutOfMemoryError):
            client.set(f"{keys.prefix}:more", "x")
        assert desk.elect("a").fence == 1
        assert desk.meet("a", 0).outcome == ""
        assert desk.meet("b").outcome == "released"
        assert desk.meet("c").outcome == ""
        assert desk.meet("c", 1, why="timeout").outcome == "timeout"
        assert desk.renew("a") == [1]
        assert desk.give_back("a") == 1
        assert desk.grant("b").fence
        assert desk.resign("1 a") == 1
        assert desk.elect("b").fence > 1
