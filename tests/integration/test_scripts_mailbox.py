"""Mailboxes: one holder, one message in flight, in order, and a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hardening.core.agent_keys import MAILBOX_HEAD
from hardening.core.scripts import Once, Taken, broadcasting, calls, mailing
from hardening.core.scripts.mailing import Bound, Halt, Told, WhenFull
from tests.integration.stage import RECEIPT_FIELDS, Stage, long, short

if TYPE_CHECKING:
    from redis import Redis

WHEN_FULL = list(WhenFull)


class Mailroom(Stage):
    """A deployment whose queues have names that mailboxes have; ``q`` is one."""

    def __init__(self, client: Redis, prefix: str) -> None:
        super().__init__(client, prefix)
        self.run(mailing.found(self.keys, self.agent, 0))

    @property
    def agent(self) -> str:
        """The agent whose mailbox ``q`` is."""
        return f"{self.prefix}.q"

    def list_key(self, queue: str = "q", step: int = 0) -> str:
        """The list of a queue at a priority step."""
        return MAILBOX_HEAD + super().list_key(queue, step)

    def host(self, *consumers: str) -> None:
        """Takes leases, and consumes from the mailbox."""
        self.join(*consumers)
        for consumer in consumers:
            self.run(broadcasting.consume(self.keys, consumer, [self.list_key()]))

    def box(self) -> dict[str, str]:
        """The mailbox."""
        fields = self.client.hgetall(self.keys.mailbox(self.list_key()))
        return {name.decode(): value.decode() for name, value in fields.items()}

    def set(self, **fields: object) -> None:
        """Sets fields of the mailbox."""
        self.client.hset(self.keys.mailbox(self.list_key()), mapping=fields)

    def is_rung(self) -> bool:
        """Whether its bell has rung."""
        return bool(self.client.exists(self.keys.bell(self.list_key())))

    def waiting(self) -> list[str]:
        """The names of what waits, the foremost first."""
        raws = [raw for step in (0, 3, 6, 9) for raw in self.client.lrange(self.list_key("q", step), 0, -1)[::-1]]
        return [short(raw[15:51]) for raw in raws]

    def halt(self, why: Halt | None) -> int:
        """Halts the mailbox, or lets it go on."""
        return int(self.run(mailing.halt(self.keys, self.agent, why)))

    def tell(
        self, name: str, *, step: int = 0, due_ms: int = 0, once: Once | None = None, bound: Bound | None = None
    ) -> Told:
        """Tells the agent something."""
        call = mailing.tell(
            self.scope, self.list_key("q", step), self.list_key(), self.raw(name, f"r-{name}"),
            bound or Bound(0), due_ms=due_ms, receipt=RECEIPT_FIELDS, once=once,
        )  # fmt: skip
        return Told.parse(self.run(call))


@pytest.fixture
def room(client: Redis, prefix: str) -> Mailroom:
    """A mailbox with two hosts, and nobody who holds it."""
    room = Mailroom(client, prefix)
    room.host("v", "w")
    return room


def names(taken: Taken) -> list[str]:
    """The names of what was taken, in order."""
    return [short(message.raw[15:51]) for message in taken.messages]


def publish(room: Mailroom, names: str) -> None:
    """One message for each letter."""
    for name in names:
        room.publish(name, receipt=f"r-{name}")


# -- who takes


def test_one_message_is_taken_and_the_next_when_that_is_settled(room: Mailroom) -> None:
    """By its holder, which goes on listening; nobody rings for what it will come for by itself."""
    publish(room, "abc")
    first = room.take("w")
    assert (names(first), first.others) == (["a"], frozenset())
    assert room.box() == {"bound": "0", "when_full": "reject", "holder": "w", "seq": "1", "fence": "1"}
    assert not room.is_rung()
    again = room.take("w")
    assert (names(again), again.others) == ([], frozenset())
    publish(room, "d")
    assert not room.is_rung()
    assert room.ack("w", "a") == 1
    assert names(room.take("w")) == ["b"]
    assert room.box()["fence"] == "1"
    assert room.waiting() == ["c", "d"]
    room.ledger()


@pytest.mark.parametrize("settle", ["ack", "release", "bury", "crash"])
def test_however_a_message_is_settled_the_next_is_taken(room: Mailroom, settle: str) -> None:
    """What is given back comes first again, at once."""
    publish(room, "ab")
    room.take("w")
    getattr(room, settle)("w", "a")
    assert names(room.take("w")) == (["b"] if settle in ("ack", "bury") else ["a"])


def test_of_all_its_priority_steps_one_message_is_taken(room: Mailroom) -> None:
    """The most urgent."""
    room.publish("low", step=9)
    room.publish("high")
    assert names(room.take("w")) == ["high"]
    room.ack("w", "high")
    assert names(room.take("w")) == ["low"]


def test_other_queues_are_taken_from_as_ever(room: Mailroom) -> None:
    """Also such whose names begin as a mailbox's, within one limit; what is not come to is rung for."""
    publish(room, "ab")
    for name in ("x1", "x2", "x3"):
        room.publish(name, queue="x")
    lists = [room.list_key("q"), room.list_key("x")]
    assert names(room.take("w", 3, *lists)) == ["a", "x1", "x2"]
    assert room.client.exists(room.keys.bell(room.list_key("x")))
    room.ack("w", "a")
    assert names(room.take("w", 1, *lists[::-1])) == ["x3"]
    assert room.is_rung()
    assert room.box()["seq"] == "1"


def test_another_consumer_is_told_that_a_mailbox_is_not_its_own(room: Mailroom) -> None:
    """Whether it has messages or not; so that it does not listen to its bell."""
    publish(room, "ab")
    room.take("w")
    for _ in range(2):
        taken = room.take("v")
        assert (names(taken), taken.others) == ([], frozenset({room.list_key()}))
        room.client.delete(room.list_key())
    assert "wanted_ms" not in room.box()


def test_a_mailbox_whose_holder_is_idle_is_anybodys_to_listen_to_only_if_that_is_gone(room: Mailroom) -> None:
    """Before anything has come."""
    assert room.take("v").others == frozenset()
    publish(room, "a")
    room.take("w")
    room.ack("w", "a")
    assert room.take("v").others == {room.list_key()}
    room.run(calls.leave(room.keys, "w"))
    assert room.take("v").others == frozenset()


def test_what_an_idle_holder_does_not_come_for_is_rung_for_and_then_anybodys(room: Mailroom) -> None:
    """All its places may be taken. A second is long enough to come; whoever takes, the wait is over."""
    publish(room, "abc")
    room.take("w")
    room.ack("w", "a")
    room.client.delete(room.keys.bell(room.list_key()))
    assert names(room.take("v")) == []
    assert room.is_rung()
    assert abs(int(room.box()["wanted_ms"]) - room.now_ms()) < 60_000
    room.set(wanted_ms=room.now_ms() - 500)
    assert names(room.take("v")) == []
    room.set(wanted_ms=room.now_ms() - 1000)
    taken = room.take("v")
    assert (names(taken), taken.others) == (["b"], frozenset())
    assert (room.box()["holder"], room.box()["fence"]) == ("v", "2")
    assert "wanted_ms" not in room.box()


def test_a_clock_that_was_set_back_keeps_nobody_waiting(room: Mailroom) -> None:
    """What is wanted since tomorrow is wanted since long."""
    publish(room, "ab")
    room.take("w")
    room.ack("w", "a")
    room.set(wanted_ms=room.now_ms() + 86_400_000)
    assert names(room.take("v")) == ["b"]


def test_a_dead_holder_is_followed_when_what_it_held_is_back(room: Mailroom) -> None:
    """Which then comes first, also the third time it crashed; nothing is taken before."""
    publish(room, "ab")
    room.client.hset(room.keys.crashes, long("a"), 1)
    room.take("w")
    room.begin("w", "a")
    room.client.zrem(room.keys.leases, "w")
    room.client.zadd(room.keys.dead, {"w": 1})
    taken = room.take("v")
    assert (names(taken), taken.others) == ([], frozenset({room.list_key()}))
    assert room.recover("v", max_crashes=3).charged == 1
    assert room.is_rung()
    assert names(room.take("v")) == ["a"]
    assert room.box()["fence"] == "2"


def test_poison_is_buried_and_what_is_behind_it_goes_on(room: Mailroom) -> None:
    """Back to its place each time, however often it crashed, until that was once too often."""
    publish(room, "ab")
    for crashes, is_buried in ((1, 0), (2, 0), (3, 1)):
        assert names(room.take("w")) == ["a"]
        assert room.crash("w", "a", base_delay_ms=60_000) == is_buried, crashes
    assert names(room.take("w")) == ["b"]
    assert room.state().buried == [("a", "crashed")]


def test_a_holder_that_ceased_to_consume_is_followed_once_it_holds_nothing(room: Mailroom) -> None:
    """It has its lease still."""
    publish(room, "ab")
    room.take("w")
    room.run(broadcasting.consume(room.keys, "w", []))
    assert names(room.take("v")) == []
    room.ack("w", "a")
    assert names(room.take("v")) == ["b"]


# -- halts and back-offs


def test_nothing_is_taken_from_a_halted_mailbox_and_nobody_rings_for_it(room: Mailroom) -> None:
    """What is in flight goes on; when it may go on, it is rung for."""
    publish(room, "ab")
    room.take("w")
    assert [room.halt(Halt.PAUSED), room.halt(Halt.PAUSED), room.halt(Halt.PARKED)] == [1, 0, 1]
    room.ack("w", "a")
    publish(room, "c")
    taken = room.take("w")
    assert (names(taken), taken.others, room.is_rung()) == ([], frozenset(), False)
    assert room.take("v").others == {room.list_key()}
    assert "wanted_ms" not in room.box()
    assert [room.halt(None), room.halt(None)] == [1, 0]
    assert room.is_rung()
    assert names(room.take("w")) == ["b"]


def test_a_mailbox_that_is_not_there_cannot_be_halted(room: Mailroom) -> None:
    """Nor is it made."""
    assert int(room.run(mailing.halt(room.keys, "nobody", Halt.STOPPED))) == -1
    assert not room.client.exists(room.keys.mailbox("agent.nobody"))


def test_what_is_to_wait_in_a_mailbox_waits_in_its_place(room: Mailroom) -> None:
    """And all behind it; a take says until when. Somebody may let it go on before."""
    publish(room, "ab")
    (message,) = room.take("w").messages
    until_ms = room.now_ms() + 60_000
    release = room.scope.release("w", [message.seq], due_ms=until_ms, keeps_place=True)
    assert room.run(release) == 1
    assert room.waiting() == ["a", "b"]
    assert room.is_rung()
    taken = room.take("w")
    assert (names(taken), taken.next_due_ms) == ([], until_ms)
    room.set(resume_ms=room.now_ms() - 1)
    assert names(room.take("w")) == ["a"]
    room.set(resume_ms=until_ms)
    room.ack("w", "a")
    assert room.halt(None) == 1
    assert names(room.take("w")) == ["b"]


def test_the_next_time_to_look_is_the_soonest(room: Mailroom) -> None:
    """Of scheduled messages and mailboxes."""
    now_ms = room.now_ms()
    room.publish("s", due_ms=now_ms + 50_000)
    for offset, expected in ((60_000, 50_000), (40_000, 40_000)):
        room.set(resume_ms=now_ms + offset)
        assert room.take("w").next_due_ms == now_ms + expected


def test_what_is_not_due_leaves_its_place_and_so_does_what_waits_in_other_queues(room: Mailroom) -> None:
    """Its sender wants it later; a mailbox is not to wait for that."""
    publish(room, "ab")
    room.take("w")
    room.release("w", "a", due_ms=room.now_ms() + 60_000)
    assert names(room.take("w")) == ["b"]
    room.publish("x", queue="x")
    (message,) = room.take("w", 1, room.list_key("x")).messages
    room.run(room.scope.release("w", [message.seq], due_ms=room.now_ms() + 60_000, keeps_place=True))
    assert sorted(room.state().scheduled) == ["a", "x"]


# -- the bound


def test_a_mailbox_is_made_by_whoever_tells_it_something_first(client: Redis, prefix: str) -> None:
    """With the bound it gives; later ones are told the bound that there is."""
    room = Mailroom(client, prefix)
    room.client.delete(room.keys.mailbox(room.list_key()), room.keys.agents)
    assert room.tell("a", bound=Bound(2, WhenFull.DROP_OLDEST)) == Told(False, "", 1, False, 2, "", [])  # noqa: FBT003
    assert room.box() == {"bound": "2", "when_full": "drop_oldest"}
    assert room.client.smembers(room.keys.agents) == {room.agent.encode()}
    assert room.tell("b", bound=Bound(7)).bound == 2
    assert room.receipt("r-a")[0] == "queued"
    room.ledger()


@pytest.mark.parametrize("when_full", [WhenFull.REJECT, WhenFull.BLOCK])
def test_a_full_mailbox_refuses_and_writes_nothing(room: Mailroom, when_full: WhenFull) -> None:
    """But that somebody waits, if that is so. What it has already is no new message."""
    room.run(mailing.found(room.keys, room.agent, 2, when_full))
    for name in "ab":
        room.tell(name)
    before = {key: room.client.dump(key) for key in room.client.scan_iter(f"*{room.prefix}*", count=10_000)}
    told = room.tell("c")
    assert (told.is_full, told.waiting, told.bound, told.buried) == (True, 2, 2, [])
    box = before.pop(room.keys.mailbox(room.list_key()).encode())
    after = {key: room.client.dump(key) for key in room.client.scan_iter(f"*{room.prefix}*", count=10_000)}
    assert (after.pop(room.keys.mailbox(room.list_key()).encode()) == box) == (when_full == "reject")
    assert after == before
    assert not room.tell("b").is_full
    assert room.waiting() == ["a", "b"]


def test_the_oldest_makes_room(room: Mailroom) -> None:
    """Of the least urgent; it is dead, the ledger knows, and so does its receipt."""
    room.run(mailing.found(room.keys, room.agent, 2, "drop_oldest"))
    room.tell("late", step=3)
    for name in "ab":
        told = room.tell(name)
    assert [(one.list_key, short(one.raw[15:51])) for one in told.buried] == [(room.list_key("q", 3), "late")]
    room.tell("c")
    assert room.waiting() == ["b", "c"]
    assert room.state().buried == [("late", "mailbox_full"), ("a", "mailbox_full")]
    assert [room.receipt(f"r-{name}")[::2] for name in ("late", "a")] == [("dead", "mailbox_full")] * 2
    assert (room.box()["drops"], room.ledger().counters["mailbox_drops"]) == ("2", 2)


def test_the_newest_is_dropped(room: Mailroom) -> None:
    """It was published, and is dead. A repeat is told that it was published."""
    room.run(mailing.found(room.keys, room.agent, 1, "drop_newest"))
    room.tell("a")
    for expected in (["b"], []):
        told = room.tell("b")
        assert not told.is_full
        assert [short(one.raw[15:51]) for one in told.buried] == expected
    assert room.waiting() == ["a"]
    assert room.history("r-b") == ["queued", "dead"]
    assert room.state().buried == [("b", "mailbox_full")]
    assert room.ledger().counters == {"published": 2, "dead": 1, "mailbox_drops": 1}


def test_a_message_of_a_stock_producer_is_dropped_like_any_other(room: Mailroom) -> None:
    """It enters the ledger as it dies."""
    room.run(mailing.found(room.keys, room.agent, 1, "drop_oldest"))
    room.publish_stock("s")
    room.tell("a")
    assert room.ledger().counters["adopted"] == 1
    assert room.state().buried == [("s", "mailbox_full")]


def test_a_bound_that_was_lowered_is_come_to_by_and_by(room: Mailroom) -> None:
    """A hundred messages at a time at most."""
    for number in range(110):
        room.publish(f"m{number}")
    room.run(mailing.found(room.keys, room.agent, 5, "drop_oldest"))
    assert [len(room.tell(name).buried) for name in "ab"] == [100, 7]
    assert len(room.waiting()) == 5
    room.ledger()


def test_what_is_not_due_waits_outside(room: Mailroom) -> None:
    """However full the mailbox is."""
    room.run(mailing.found(room.keys, room.agent, 1))
    room.tell("a")
    assert not room.tell("s", due_ms=room.now_ms() + 60_000).is_full
    assert room.state().scheduled == ["s"]


def test_an_idempotency_key_is_honoured_also_by_a_full_mailbox(room: Mailroom) -> None:
    """The first receipt is told; one that was refused has taken no key."""
    room.run(mailing.found(room.keys, room.agent, 1))
    assert room.tell("a", once=Once("d", 60_000)).first == ""
    assert room.tell("b", once=Once("d", 60_000)).first == long("r-a")
    assert room.tell("c", once=Once("e", 60_000)).is_full
    assert not room.client.exists(room.keys.idempotency("e"))


def test_a_mailbox_that_fills_is_told_of_once(room: Mailroom) -> None:
    """And again only when it has been nearly empty in between."""
    room.run(mailing.found(room.keys, room.agent, 8))
    news = [room.tell(f"m{number}").is_news for number in range(6)]
    assert news == [False] * 4 + [True, False]
    for number in range(5):
        room.take("w")
        room.ack("w", f"m{number}")
    assert [room.tell(f"n{number}").is_news for number in range(5)] == [False, False, False, True, False]


def test_a_take_tells_one_sender_that_waits_for_room(room: Mailroom) -> None:
    """One token, for a minute; where nobody fetched the last one, nobody waits any more."""
    room.run(mailing.found(room.keys, room.agent, 1, "block"))
    room.tell("a")
    assert room.tell("b").is_full
    key: Any = room.keys.mailbox_room(room.list_key())
    room.take("w")
    assert room.client.llen(key) == 1
    assert 0 < room.client.pttl(key) <= 60_000
    room.ack("w", "a")
    room.tell("b")
    room.take("w")
    assert (room.client.llen(key), "senders" in room.box()) == (1, False)


def test_a_mailbox_is_founded_once(room: Mailroom) -> None:
    """Or changed."""
    answers = [room.run(mailing.found(room.keys, room.agent, *args)) for args in ((0,), (5,), (5,), (5, "block"))]
    assert answers == [0, 1, 0, 1]
