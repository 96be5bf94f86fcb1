"""The bound of a mailbox, and what happens to a message for which there is no room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hardening.core.scripts import Once, mailing
from hardening.core.scripts.mailing import Bound, Told, WhenFull
from tests.integration.mailroom import Mailroom
from tests.integration.stage import long, short

if TYPE_CHECKING:
    from redis import Redis


def test_a_mailbox_is_made_by_whoever_tells_it_something_first(client: Redis, prefix: str) -> None:
    """With the bound it gives; later ones are told the bound that there is."""
    room = Mailroom(client, prefix)
    room.client.delete(room.keys.mailbox(room.list_key()), room.keys.agents)
    assert room.tell("a", bound=Bound(2, WhenFull.DROP_OLDEST)) == Told(
        is_full=False, may_wait=False, first="", waiting=1, is_news=False, bound=2, halt="", buried=[]
    )
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
    assert (told.is_full, told.may_wait, told.waiting, told.bound) == (True, when_full == "block", 2, 2)
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
    room.run(mailing.found(room.keys, room.agent, 2, "drop_newest"))
    assert [short(one.raw[15:51]) for one in room.tell("c").buried] == ["c"]
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
    for number in range(3):
        room.take("w")
        room.ack("w", f"m{number}")
    assert [room.tell(f"l{number}").is_news for number in range(2)] == [False, False]
    room.scope.purge(room.list_key(), 1).run(room.client)
    room.scope.purge(room.list_key(), 1).run(room.client)
    for number in range(3, 5):
        room.take("w")
        room.ack("w", f"m{number}")
    assert [room.tell(f"n{number}").is_news for number in range(5)] == [False, False, False, True, False]


def test_a_take_tells_one_sender_that_waits_for_room(room: Mailroom) -> None:
    """One token, for a minute; where nobody fetched the last one, nobody waits any more."""
    room.run(mailing.found(room.keys, room.agent, 1, "block"))
    room.tell("a")
    assert room.tell("b").is_full
    key = room.keys.mailbox_room(room.list_key())
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
