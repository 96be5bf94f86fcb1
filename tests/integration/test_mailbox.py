"""Sending to a mailbox: within its bound, by its rule, and without Redis."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from dlq import DeadLetters, Selection
from hardening.core import telemetry
from hardening.core.agent_keys import mailbox_queue
from hardening.core.deployment import client_of, settings_of
from hardening.core.errors import MailboxFull
from hardening.core.ledger import read_ledger
from hardening.core.scripts import Scope, Taken, broadcasting, calls, mailing
from hardening.core.scripts.mailing import Bound, Told, WhenFull
from hardening.delivery.mailbox import atell_mailbox, tell_mailbox
from hardening.delivery.mailbox_events import MailboxFilled
from tests.eventually import eventually

if TYPE_CHECKING:
    from celery import Celery

    from hardening.delivery import Receipt

pytestmark = pytest.mark.one_server


class Box:
    """One agent's mailbox, of two messages, and who takes from it."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.client: Any = client_of(app)
        self.keys = settings_of(app).keys
        self.agent = f"{self.keys.prefix}.a"
        self.scope = Scope(self.keys, 60_000, "w")
        calls.renew(self.keys, "w", 600_000, join=True, about="{}").run(self.client)
        broadcasting.consume(self.keys, "w", [mailbox_queue(self.agent)]).run(self.client)

    def found(self, when_full: WhenFull, most: int = 2) -> None:
        """Makes the mailbox."""
        mailing.found(self.keys, self.agent, most, when_full).run(self.client)

    def tell(self, number: int, **options: Any) -> Receipt:
        """Sends one message."""
        return tell_mailbox("shop.count", (number,), agent=self.agent, app=self.app, **options)

    def take(self) -> None:
        """Takes the next message and settles it."""
        lists = [mailbox_queue(self.agent)]
        (message,) = Taken.parse(self.scope.take("w", lists, 1).run(self.client), lists).messages
        assert self.scope.ack("w", [f"{message.seq}+"]).run(self.client) == 1

    def is_awaited(self) -> bool:
        """Whether a sender waits for room."""
        return bool(self.client.hexists(self.keys.mailbox(mailbox_queue(self.agent)), "senders"))


@pytest.fixture
def box(app: Celery) -> Box:
    """A mailbox that nobody has made."""
    return Box(app)


def test_a_message_is_published_with_a_receipt(box: Box) -> None:
    """The first one makes the mailbox, with the bound it brings."""
    receipt = box.tell(1, bound=Bound(1, WhenFull.REJECT))
    assert receipt.status() == "queued"
    box.take()
    assert receipt.wait("acked", 5) == "acked"
    box.tell(2, bound=Bound(0))
    with pytest.raises(MailboxFull):
        box.tell(3, bound=Bound(0))


def test_a_full_mailbox_refuses(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    """As was asked: raised, logged, or not told; nothing is published either way."""
    box.found(WhenFull.REJECT)
    for number in range(2):
        box.tell(number)
    with pytest.raises(MailboxFull) as raised:
        box.tell(2)
    assert (raised.value.agent, raised.value.bound, raised.value.waited_s) == (box.agent, 2, 0.0)
    with caplog.at_level(logging.ERROR, "hardening.delivery"):
        assert box.tell(2, on_error="ignore").status() == "unknown"
        assert not caplog.messages
        assert box.tell(2, on_error="log").status() == "unknown"
    assert caplog.messages[0].startswith(f"the mailbox of agent {box.agent} has no room: 2 messages wait")
    assert read_ledger(box.client, box.keys).counters["published"] == 2


@pytest.mark.parametrize(("when_full", "dropped"), [(WhenFull.DROP_OLDEST, 0), (WhenFull.DROP_NEWEST, 2)])
def test_what_is_dropped_is_a_dead_letter(box: Box, when_full: WhenFull, dropped: int) -> None:
    """It is told of, its receipt is dead, and the ledger balances."""
    box.found(when_full)
    with telemetry.capture("hardening.message.buried") as buried:
        receipts = [box.tell(number) for number in range(3)]
    (event,) = buried
    assert isinstance(event, telemetry.MessageBuried)
    assert (event.task, event.queue, event.reason) == ("shop.count", mailbox_queue(box.agent), "mailbox_full")
    assert [number for number in range(3) if receipts[number].status() == "dead"] == [dropped]
    assert receipts[dropped].details()["reason"] == "mailbox_full"
    (letter,) = DeadLetters.of(box.app).select(Selection(reason="mailbox_full"))
    assert letter.id == event.entry
    ledger = read_ledger(box.client, box.keys)
    assert ledger.is_balanced
    assert ledger.counters["mailbox_drops"] == 1


def test_a_sender_waits_for_room(box: Box) -> None:
    """And is told of it by the take that makes it, long before it would look again by itself."""
    box.found(WhenFull.BLOCK, 1)
    box.tell(1)
    told: list[Receipt] = []
    sender = threading.Thread(target=lambda: told.append(box.tell(2, timeout=30, block_s=30)))
    sender.start()
    eventually(box.is_awaited, 10)
    box.take()
    sender.join(20)
    assert told[0].status() == "queued"
    assert not box.client.exists(box.keys.mailbox_room(mailbox_queue(box.agent)))


def test_room_that_nobody_told_of_is_found(box: Box) -> None:
    """As after a purge."""
    box.found(WhenFull.BLOCK, 1)
    box.tell(1)
    told: list[Receipt] = []
    sender = threading.Thread(target=lambda: told.append(box.tell(2, timeout=30, block_s=30)))
    sender.start()
    eventually(box.is_awaited, 10)
    box.scope.purge(mailbox_queue(box.agent), 10).run(box.client)
    sender.join(20)
    assert told[0].status() == "queued"


@pytest.mark.parametrize("bounds", [{"block_s": 0.05}, {"block_s": 30.0, "timeout": 1.0}, {"block_s": 0.0}])
def test_a_sender_does_not_wait_longer_than_it_likes(box: Box, bounds: dict[str, float]) -> None:
    """Nor than its whole send may take."""
    box.found(WhenFull.BLOCK, 1)
    box.tell(1)
    with pytest.raises(MailboxFull) as raised:
        box.tell(2, **bounds)
    assert (raised.value.waited_s > 0) == (bounds["block_s"] > 0)
    assert raised.value.waited_s < 20


def test_a_mailbox_that_fills_is_told_of(box: Box) -> None:
    """Once."""
    box.found(WhenFull.REJECT, 4)
    with telemetry.capture("hardening.mailbox.filled") as filled:
        for number in range(4):
            box.tell(number)
    assert filled == [MailboxFilled(agent=box.agent, waiting=3, bound=4)]


def test_an_idempotency_key_returns_the_first_receipt(box: Box) -> None:
    """Of a message that is in a full mailbox, too."""
    box.found(WhenFull.REJECT, 1)
    first = box.tell(1, idempotency_key="k")
    assert box.tell(2, idempotency_key="k").id == first.id


def test_what_is_delayed_waits_outside(box: Box) -> None:
    """However full the mailbox is."""
    box.found(WhenFull.REJECT, 1)
    box.tell(1)
    assert box.tell(2, delay=60).status() == "scheduled"


def test_a_coroutine_tells_as_well(box: Box) -> None:
    """Without holding up its loop."""
    receipt = asyncio.run(atell_mailbox("shop.count", (1,), agent=box.agent, app=box.app))
    assert receipt.status() == "queued"


def test_a_message_that_replicas_must_have_is_counted_once(box: Box) -> None:
    """There are none here: Redis has it, and the send says that no replica does."""
    receipt = box.tell(1, confirm="replicated", timeout=0.2, on_error="ignore")
    assert (receipt.replicas, receipt.status()) == (0, "queued")


@pytest.mark.usefixtures("quiet")
def test_while_redis_is_away_a_message_is_spooled(away: Celery) -> None:
    """And flushed later, whatever the bound: somebody has a receipt for it."""
    receipt = tell_mailbox("shop.count", (1,), agent="a", app=away, timeout=0.5)
    assert receipt.status() == "spooled"


def test_a_refusal_is_read() -> None:
    """It may be for good or for now."""
    assert [(told.is_full, told.may_wait) for told in (Told.parse([n, 0, 0, 1, b""]) for n in (1, 0, -1, -2))] == [
        (False, False),
        (False, False),
        (True, False),
        (True, True),
    ]
