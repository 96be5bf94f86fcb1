"""A mailbox that three workers host: in order, one message at a time, whatever happens to its holder."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts import mailing
from tests.closing import close
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celery import Celery

    from hardening.core.keys import Keys
    from tests.faults.rig import Rig, Worker

pytestmark = pytest.mark.one_server

_LEASE_S = 1.0
_POOLS = [("solo", 1), ("prefork", 4), ("threads", 4)]


class House:
    """One mailbox, its hosts and its sender."""

    def __init__(self, rig: Rig, pools: Sequence[tuple[str, int]], agent: str = "a", poll_s: float = 0.5) -> None:
        self.rig = rig
        self.app: Celery = rig.producer()
        self.client: Any = client_of(self.app)
        self.keys: Keys = settings_of(self.app).keys
        self.queue = f"agent.{rig.prefix}.{agent}"
        mailing.found(self.keys, f"{rig.prefix}.{agent}", 10_000).run(self.client)
        self.sent = 0
        self.hosts = [
            rig.start(
                pool, size, tasks="tests.faults.mailbox_tasks", queues=[self.queue],
                faults_lease_s=str(_LEASE_S), faults_poll_s=str(poll_s),
            )
            for pool, size in pools
        ]  # fmt: skip

    def ready(self) -> House:
        """Waits until all hosts are."""
        for host in self.hosts:
            self.rig.ready(host)
        return self

    def send(self, number: int, seconds: float = 0.0, how: str = "") -> None:
        """Sends the next messages of one sender."""
        for at in range(self.sent, self.sent + number):
            self.app.send_task("tests.faults.mailbox_tasks.turn", (at, seconds, how), queue=self.queue)
        self.sent += number

    def holder(self) -> Worker | None:
        """The worker that holds the mailbox; None: one that is no member any more did."""
        consumer = self.client.hget(self.keys.mailbox(self.queue), "holder")
        about = json.loads(self.client.hget(self.keys.members, consumer) or "{}")
        return next((host for host in self.hosts if host.process.pid == about.get("pid")), None)

    def is_held_by_none_of(self, *hosts: Worker) -> bool:
        """Whether another worker holds the mailbox."""
        holder = self.holder()
        return holder is not None and holder not in hosts

    def settled_holder(self) -> Worker:
        """The worker that holds the mailbox, once one does."""
        eventually(self.holder, 10)
        holder = self.holder()
        assert holder is not None
        return holder

    def name(self, host: Worker) -> str:
        """The node name of a worker."""
        return f"{self.rig.prefix}-{self.rig.workers.index(host)}@test"

    def turns(self) -> list[tuple[str, int, str]]:
        """What happened, in order."""
        stored: Any = self.rig.ledger.lrange(f"{self.rig.prefix}:turns:{self.queue}", 0, -1)
        lines = [line.decode().split() for line in stored]
        return [(what, int(number), who) for what, number, who in lines]

    def began(self) -> int:
        """How many runs have begun."""
        return sum(what == "begin" for what, *_ in self.turns())

    def await_ended(self, number: int, timeout_s: float = 30.0) -> None:
        """Waits until so many messages have come to their end."""
        eventually(lambda: len({at for what, at, _ in self.turns() if what == "end"}) >= number, timeout_s)

    def check(self, *lost: str) -> None:
        """In order, one at a time; only what ran on one that was lost may run again, next of all."""
        running: tuple[int, str] | None = None
        first: list[int] = []
        repeats = 0
        for what, number, who in self.turns():
            if what == "begin":
                if running is not None:
                    assert number == running[0], self.turns()
                    assert running[1] in lost, self.turns()
                repeats += number in first
                first += [number] if number not in first else []
                running = (number, who)
            elif running == (number, who):
                running = None
            else:
                assert who in lost, self.turns()
        assert first == list(range(self.sent))
        assert repeats <= len(lost)


@pytest.fixture
def house(rig: Rig) -> Iterator[House]:
    """A mailbox with three hosts."""
    house = House(rig, _POOLS)
    yield house.ready()
    close(house.app)


def test_a_killed_holder_is_followed_within_its_lease_and_two_seconds_and_one_that_stops_at_once(house: House) -> None:
    """What it ran comes first; then the rest, in order."""
    house.send(40, 0.02)
    house.await_ended(5)
    victim = house.settled_holder()
    house.rig.kill(victim)
    began = house.began()
    took_s = house.rig.seconds_until(lambda: house.began() > began, 10)
    assert took_s <= _LEASE_S + 2
    house.await_ended(20)
    leaver = house.settled_holder()
    assert leaver is not victim
    leaver.stop()
    house.await_ended(house.sent)
    assert house.is_held_by_none_of(victim, leaver)
    house.check(house.name(victim))
    settled = house.rig.settled()
    assert settled.counters["published"] == settled.counters["acked"] == house.sent


def test_a_holder_that_does_not_consume_or_is_frozen_is_followed(house: House) -> None:
    """By one of the others within two seconds, or its lease and two seconds; on waking it runs nothing."""
    house.send(60, 0.03)
    house.await_ended(5)
    former = house.settled_holder()
    house.app.control.cancel_consumer(house.queue, destination=[house.name(former)])
    took_s = house.rig.seconds_until(lambda: house.is_held_by_none_of(former), 10)
    assert took_s <= 2 + 0.5  # the command itself has to get there
    house.await_ended(20)
    frozen = house.settled_holder()
    frozen.send(signal.SIGSTOP)
    eventually(lambda: house.is_held_by_none_of(former, frozen), _LEASE_S + 4)
    house.await_ended(40)
    frozen.send(signal.SIGCONT)
    house.await_ended(house.sent)
    house.rig.settled()
    house.check(house.name(frozen))


def test_the_next_message_is_taken_when_the_last_is_settled_and_not_when_somebody_looks(rig: Rig) -> None:
    """In every pool, however it is settled; nobody looks by itself for as long as this test takes."""
    pools = [*_POOLS, ("gevent", 4)]
    houses = [House(rig, [pool], agent=pool[0], poll_s=60.0) for pool in pools]
    for house in houses:
        house.ready()
    for how in ("", "fail", "give back", ""):
        for house in houses:
            house.send(3, how=how)
    for house in houses:
        house.await_ended(12)
    for number in (13, 14, 15):
        for house in houses:
            house.send(1)
        for house in houses:
            house.await_ended(number, 20)
    rig.settled()
    for house in houses:
        began = [number for what, number, _ in house.turns() if what == "begin"]
        assert began == [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 12, 13, 14]
        close(house.app)
