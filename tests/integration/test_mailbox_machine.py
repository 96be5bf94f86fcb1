"""Any history of a mailbox: in order, one message in flight, within its bound, and the ledger balances."""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from hardening.core.scripts import broadcasting, mailing
from hardening.core.scripts.mailing import Halt, WhenFull
from tests.integration.mailroom import Mailroom, names

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis

BOUND = 3
MAX_CRASHES = 2
CONSUMERS = st.sampled_from(["u", "v"])
IS_OUT = precondition(lambda self: self.out)


class Mailbox(RuleBasedStateMachine):
    """The model is kept by hand; the mailbox is driven beside it."""

    server: ClassVar[EmbeddedRedis]

    def __init__(self) -> None:
        super().__init__()
        self.client: Redis = self.server.client()
        self.room = Mailroom(self.client, f"m{uuid.uuid4().hex[:12]}")
        self.numbers = itertools.count()
        self.when_full = WhenFull.REJECT
        self.waiting: list[str] = []
        self.crashes: dict[str, int] = {}
        self.buried: list[tuple[str, str]] = []
        self.consuming: set[str] = set()
        self.holder = self.halt = ""
        self.out = ""
        self.fence = 0
        self.is_wanted = False

    def teardown(self) -> None:
        """The connection of this history."""
        self.client.close()

    # -- coming in

    @rule(when_full=st.sampled_from(list(WhenFull)))
    def found(self, when_full: WhenFull) -> None:
        """A host begins, with another rule than the last."""
        self.room.run(mailing.found(self.room.keys, self.room.agent, BOUND, when_full))
        self.when_full = when_full

    @rule(is_repeated=st.booleans())
    def tell(self, *, is_repeated: bool) -> None:
        """One more message, or what its sender takes for it: a repeat changes nothing, even of what was dropped."""
        is_founded = self.room.box()["bound"] != "0"
        name = f"m{next(self.numbers)}"
        told = self.room.tell(name)
        is_full = is_founded and len(self.waiting) >= BOUND
        refuses = is_full and self.when_full in (WhenFull.REJECT, WhenFull.BLOCK)
        assert told.is_full == refuses
        if not refuses:
            self.waiting.append(name)
        if is_full and self.when_full == WhenFull.DROP_NEWEST:
            self.buried.append((self.waiting.pop(), "mailbox_full"))
        if is_full and self.when_full == WhenFull.DROP_OLDEST:
            excess = len(self.waiting) - BOUND
            self.buried += [(dropped, "mailbox_full") for dropped in self.waiting[:excess]]
            del self.waiting[:excess]
        if is_repeated and not refuses:
            assert not self.room.tell(name).is_full

    # -- being taken

    @rule(consumer=CONSUMERS)
    def consume(self, consumer: str) -> None:
        """A host joins, or goes on."""
        self.room.host(consumer)
        self.consuming.add(consumer)

    @rule(consumer=CONSUMERS)
    def cease(self, consumer: str) -> None:
        """A host consumes no longer; its lease goes on."""
        self.room.run(broadcasting.consume(self.room.keys, consumer, []))
        self.consuming.discard(consumer)

    @precondition(lambda self: self.consuming)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """A host asks; it gets the foremost, if nothing is in flight and nobody else is to come for it."""
        consumer = data.draw(st.sampled_from(sorted(self.consuming)))
        is_others = self.holder != consumer and (self.holder in self.consuming or bool(self.holder and self.out))
        is_open = not (self.out or self.halt) and bool(self.waiting)
        may = is_open and (not is_others or self.is_wanted)
        taken = self.room.take(consumer, 5)
        assert names(taken) == (self.waiting[:1] if may else [])
        assert bool(taken.others) == (is_others and not may)
        if may:
            self.fence += self.holder != consumer
            self.holder, self.out, self.is_wanted = consumer, self.waiting.pop(0), False
        elif not self.is_wanted:  # time does not go by here, however slow this machine is
            self.client.hdel(self.room.keys.mailbox(self.room.list_key()), "wanted_ms")

    @precondition(lambda self: self.waiting and not self.out and not self.halt)
    @rule(consumer=CONSUMERS)
    def wait(self, consumer: str) -> None:
        """A second goes by in which somebody looked and nobody came."""
        if consumer in self.consuming and self.holder in self.consuming and self.holder != consumer:
            self.room.set(wanted_ms=1)
            self.is_wanted = True

    @rule(why=st.sampled_from([None, *Halt]))
    def halted(self, why: Halt | None) -> None:
        """An operator says so."""
        assert self.room.halt(why) == (self.halt != (why or ""))
        if self.halt != (why or ""):
            self.halt, self.is_wanted = why or "", False

    # -- being settled

    @IS_OUT
    @rule()
    def ack(self) -> None:
        """It is done."""
        assert self.room.ack(self.holder, self.out) == 1
        self.crashes.pop(self.out, None)
        self.out = ""

    @IS_OUT
    @rule()
    def release(self) -> None:
        """It is given back, to its place."""
        assert self.room.release(self.holder, self.out) == 1
        self._back()

    @IS_OUT
    @rule()
    def bury(self) -> None:
        """It failed."""
        assert self.room.bury(self.holder, self.out) == 1
        self._dead("failed")

    @IS_OUT
    @rule(is_whole=st.booleans())
    def crash(self, *, is_whole: bool) -> None:
        """Its process died, or all of its host."""
        self.crashes[self.out] = self.crashes.get(self.out, 0) + 1
        is_dead = self.crashes[self.out] >= MAX_CRASHES
        if is_whole:
            self.room.begin(self.holder, self.out)
            self.room.expire(self.holder)
            assert len(self.room.recover(max_crashes=MAX_CRASHES).buried) == is_dead
            self.consuming.discard(self.holder)
        else:
            assert self.room.crash(self.holder, self.out, max_crashes=MAX_CRASHES) == is_dead
        if is_dead:
            self._dead("crashed")
        else:
            self._back()

    def _back(self) -> None:
        self.waiting.insert(0, self.out)
        self.out = ""

    def _dead(self, reason: str) -> None:
        self.crashes.pop(self.out, None)
        self.buried.append((self.out, reason))
        self.out = ""

    # -- the law

    @invariant()
    def everything_is_as_it_should_be(self) -> None:
        """Whole state; reading it checks the ledger as well."""
        state, box = self.room.state(), self.room.box()
        assert self.room.waiting() == self.waiting
        assert [name for held in state.inflight.values() for name in held] == ([self.out] if self.out else [])
        assert (state.buried, state.crashes) == (self.buried, self.crashes)
        assert (box.get("holder", ""), int(box.get("fence", 0)), box.get("halt", "")) == (
            self.holder,
            self.fence,
            self.halt,
        )


@pytest.mark.one_server
def test_every_history_of_a_mailbox_keeps_its_order(server: EmbeddedRedis) -> None:
    """Twenty histories of up to forty steps."""
    bounded = settings(max_examples=20, stateful_step_count=40, deadline=None, derandomize=True, database=None)
    run_state_machine_as_test(type("Mailbox", (Mailbox,), {"server": server}), settings=bounded)
