"""Any history of a deployment: the ledger balances after each step, and every message is where it should be."""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from hardening.core.scripts import keeping
from hardening.core.scripts.calls import discard
from tests.integration.stage import Stage, State

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis

MAX_CRASHES = 2
LIMIT = 3
CONSUMERS = st.sampled_from(["u", "v"])
IS_HELD = precondition(lambda self: any(self.model.inflight.get(consumer) for consumer in self.model.leases))


class Deployment(RuleBasedStateMachine):
    """The model is a :class:`State` without bells, kept by hand; the deployment is driven beside it."""

    server: ClassVar[EmbeddedRedis]

    def __init__(self) -> None:
        super().__init__()
        self.client: Redis = self.server.client()
        self.stage = Stage(self.client, f"m{uuid.uuid4().hex[:12]}")
        self.model = State()
        self.numbers = itertools.count()
        self.receipts: dict[str, str] = {}
        self.planned = ""
        self.due: set[str] = set()

    def teardown(self) -> None:
        """The connection of this history."""
        self.client.close()

    def _name(self) -> str:
        return f"m{next(self.numbers)}"

    def _queue(self) -> list[str]:
        return self.model.queued.setdefault("q", [])

    # -- coming in

    @rule(has_receipt=st.booleans(), is_later=st.booleans())
    def publish(self, *, has_receipt: bool, is_later: bool) -> None:
        """A new message, to run now or later, with or without a receipt."""
        name = self._name()
        due_ms = self.stage.now_ms() + 3_600_000 if is_later else 0
        if has_receipt:
            self.receipts[name] = f"r-{name}"
        assert self.stage.publish(name, due_ms=due_ms, receipt=self.receipts.get(name)) == 1
        (self.model.scheduled if is_later else self._queue()).append(name)

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def publish_again(self, data: st.DataObject) -> None:
        """The sender did not hear of it and tries again, at any time."""
        name = data.draw(st.sampled_from(sorted(self.receipts)))
        assert self.stage.publish(name, receipt=self.receipts[name]) == 0

    @rule()
    def publish_stock(self) -> None:
        """A stock producer's message."""
        name = f"stock{next(self.numbers)}"
        self.stage.publish_stock(name)
        self._queue().append(name)

    # -- being held

    @precondition(lambda self: any(self.model.queued.values()))
    @rule(consumer=CONSUMERS, limit=st.integers(1, LIMIT), is_begun=st.booleans())
    def take(self, consumer: str, limit: int, *, is_begun: bool) -> None:
        """A consumer takes, and begins what it took last, or lets it wait."""
        self.stage.join(consumer)
        self.model.leases.add(consumer)
        assert not self.stage.take(consumer, limit).reaped
        queue = self._queue()
        held = self.model.inflight.setdefault(consumer, [])
        held.extend(queue[:limit])
        del queue[:limit]
        if is_begun:
            self.stage.begin(consumer, held[-1])
            started = self.model.started.setdefault(consumer, [])
            started.extend(held[-1:] if held[-1] not in started else ())

    def _held(self, data: st.DataObject) -> tuple[str, str]:
        held = [(consumer, name) for consumer in sorted(self.model.leases)
                for name in self.model.inflight.get(consumer, ())]  # fmt: skip
        return data.draw(st.sampled_from(held))

    def _let_go(self, consumer: str, name: str) -> None:
        self.model.inflight[consumer].remove(name)
        if name in self.model.started.get(consumer, ()):
            self.model.started[consumer].remove(name)

    @IS_HELD
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        """A task is done."""
        held = self._held(data)
        assert self.stage.ack(*held) == 1
        self._let_go(*held)
        self.model.crashes.pop(held[1], None)

    @IS_HELD
    @rule(data=st.data(), is_later=st.booleans())
    def release(self, data: st.DataObject, *, is_later: bool) -> None:
        """A message is given back."""
        held = self._held(data)
        assert self.stage.release(*held, due_ms=self.stage.now_ms() + 3_600_000 if is_later else 0) == 1
        self._let_go(*held)
        if is_later:
            self.model.scheduled.append(held[1])
        else:
            self._queue().insert(0, held[1])

    @IS_HELD
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """A child process died of it."""
        held = self._held(data)
        buried = self.stage.crash(*held, max_crashes=MAX_CRASHES)
        self._let_go(*held)
        assert buried == self._charge(held[1])

    def _charge(self, name: str) -> bool:
        self.model.crashes[name] = self.model.crashes.get(name, 0) + 1
        if self.model.crashes[name] < MAX_CRASHES:
            self._queue().insert(0, name)
            return False
        del self.model.crashes[name]
        self.model.buried.append((name, "crashed"))
        return True

    @IS_HELD
    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        """A task failed for good."""
        held = self._held(data)
        assert self.stage.bury(*held) == 1
        self._let_go(*held)
        self.model.crashes.pop(held[1], None)
        self.model.buried.append((held[1], "failed"))

    # -- dying and coming back

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """A lease runs out, and somebody sweeps; what was begun is charged."""
        consumer = data.draw(st.sampled_from(sorted(self.model.leases)))
        self.stage.expire(consumer)
        recovery = self.stage.recover(max_crashes=MAX_CRASHES)
        self.model.leases.remove(consumer)
        lost = self.model.inflight.pop(consumer, [])
        started = self.model.started.pop(consumer, [])
        buried = []
        for name in reversed(lost):
            if name not in started:
                self._queue().insert(0, name)
            elif self._charge(name):
                buried.append(name)
        told = (recovery.consumer, recovery.restored, recovery.charged, len(recovery.buried))
        assert told == (consumer, len(lost) - len(buried), len(started), len(buried))

    # -- being cancelled

    @precondition(lambda self: self.receipts)
    @rule(data=st.data(), is_withdrawn=st.booleans())
    def cancel(self, data: st.DataObject, *, is_withdrawn: bool) -> None:
        """Wherever it is. Its holder gives up what it has not begun, and gives back what nobody asks for any more."""
        name = data.draw(st.sampled_from(sorted(self.receipts)))
        asked = self.stage.cancel(f"r-{name}")
        held = [who for who, names in self.model.inflight.items() if name in names]
        if name in self.model.scheduled or name in self._queue():
            place = self.model.scheduled if name in self.model.scheduled else self._queue()
            place.remove(name)
            assert (asked.said, asked.raw) == ("cancelled", self.stage.raw(name, f"r-{name}"))
            assert asked.where == ("schedule" if place is self.model.scheduled else "queue")
            self._is_gone(name)
        elif held and name not in self.model.started.get(held[0], ()):
            assert asked.said == "claimed"
            if is_withdrawn:
                assert self.stage.cancel(f"r-{name}", patience_ms=0).said == "claimed"
            assert self.stage.revoke(held[0], name) == (not is_withdrawn)
            self._let_go(held[0], name)
            if is_withdrawn:
                self._queue().insert(0, name)
            else:
                self._is_gone(name)
        else:
            assert asked.said in ("started", "acked", "dead", "cancelled")
            assert not asked.raw

    def _is_gone(self, name: str) -> None:
        self.model.crashes.pop(name, None)
        again = self.stage.cancel(f"r-{name}", "another")
        assert (again.said, again.asker, again.raw) == ("cancelled", "asker", b"")
        assert self.stage.receipt(f"r-{name}")[::2] == ("dead", "cancelled")

    # -- what operators do

    @precondition(lambda self: self.model.buried)
    @rule(data=st.data(), is_discarded=st.booleans())
    def replay(self, data: st.DataObject, *, is_discarded: bool) -> None:
        """A dead letter goes back as a new message, or away."""
        at = data.draw(st.integers(0, len(self.model.buried) - 1))
        entry_id = self.stage.client.xrange(self.stage.keys.dlq)[at][0].decode()
        name, _ = self.model.buried.pop(at)
        if is_discarded:
            assert self.stage.run(discard(self.stage.keys, [(entry_id, "")])) == 1
            return
        again, receipt = self._name(), self.receipts.pop(name, None)
        call = self.stage.scope.replay([(entry_id, "", self.stage.list_key(), self.stage.raw(again, receipt))])
        assert self.stage.run(call) == 1
        if receipt:
            self.receipts[again] = receipt
        self._queue().append(again)

    # -- what the keeper does

    def _ids(self) -> list[str]:
        """The ids of the dead letters, oldest first, as the model has them."""
        return [entry_id.decode() for entry_id, _ in self.stage.client.xrange(self.stage.keys.dlq)]

    @precondition(lambda self: self.model.buried)
    @rule(data=st.data(), is_stale=st.booleans())
    def plan(self, data: st.DataObject, *, is_stale: bool) -> None:
        """Retries are decided about, up to some letter; whoever comes second decides nothing."""
        ids = self._ids()
        undecided = [entry_id for entry_id in ids if _place(entry_id) > _place(self.planned)]
        if not undecided:
            return
        page = undecided[: data.draw(st.integers(1, len(undecided)))]
        chosen = data.draw(st.lists(st.sampled_from(page), unique=True))
        retries = [(entry_id, self.stage.list_key(), 0) for entry_id in chosen]
        so_far = "9-9" if is_stale else self.planned
        assert self.stage.run(keeping.plan(self.stage.keys, so_far, page[-1], retries)) == (
            -1 if is_stale else len(chosen)
        )
        if not is_stale:
            self.planned = page[-1]
            self.due |= set(chosen)

    @rule(limit=st.integers(1, LIMIT))
    def retry(self, limit: int) -> None:
        """What is due is claimed, once, and goes back as new messages."""
        there = self._ids()
        due = self.due & set(there)
        claimed = self.stage.run(keeping.claim(self.stage.keys, limit, 600_000))
        ids = [entry_id.decode() for entry_id, _ in claimed]
        assert len(ids) == min(limit, len(due))
        assert set(ids) <= due
        parts, names = [], []
        for entry_id in ids:
            name, _ = self.model.buried[there.index(entry_id)]
            receipt = self.receipts.pop(name, None)
            names.append(self._name())
            parts.append((entry_id, "", self.stage.list_key(), self.stage.raw(names[-1], receipt)))
            if receipt:
                self.receipts[names[-1]] = receipt
        assert self.stage.run(self.stage.scope.replay([*parts, *parts])) == len(ids)
        self.model.buried = [one for one, entry_id in zip(self.model.buried, there, strict=True) if entry_id not in ids]
        self.due -= set(ids)
        self._queue().extend(names)

    @rule(most=st.integers(0, LIMIT), limit=st.integers(1, LIMIT))
    def trim(self, most: int, limit: int) -> None:
        """The oldest go, no more than are too many."""
        gone = min(limit, max(0, len(self.model.buried) - most))
        call = keeping.trim(self.stage.keys, most=most, max_age_ms=600_000, limit=limit)
        assert self.stage.run(call) == gone
        del self.model.buried[:gone]

    @precondition(lambda self: any(self.model.queued.values()))
    @rule(limit=st.integers(1, LIMIT))
    def purge(self, limit: int) -> None:
        """An operator empties the queue, in part."""
        queue = self._queue()
        gone = queue[-limit:]
        assert self.stage.run(self.stage.scope.purge(self.stage.list_key(), limit)) == len(gone)
        del queue[len(queue) - len(gone) :]

    @precondition(lambda self: self.model.scheduled)
    @rule(limit=st.integers(1, LIMIT))
    def detach(self, limit: int) -> None:
        """Scheduled messages leave for plain queues: the latest first, each in front of the one before."""
        by_due = self.stage.state().scheduled
        moved = by_due[-limit:]
        assert self.stage.run(self.stage.scope.detach(limit)) == len(moved)
        for name in reversed(moved):
            self.model.scheduled.remove(name)
            self._queue().insert(0, name)

    # -- the law

    @invariant()
    def every_message_is_where_it_should_be(self) -> None:
        """Whole state against the model; reading it checks the ledger as well."""
        real = self.stage.state()
        assert sorted(real.scheduled) == sorted(self.model.scheduled)
        real.scheduled, real.rung, real.stock = self.model.scheduled, set(), set()
        real.crashes = {name: n for name, n in real.crashes.items() if name.startswith("m")}
        crashes = {name: n for name, n in self.model.crashes.items() if name.startswith("m")}  # stock: by SHA-1
        begun = {
            who: sorted(names, key=self.model.inflight[who].index) for who, names in self.model.started.items() if names
        }
        retries = {entry_id.decode() for entry_id in self.stage.client.zrange(self.stage.keys.dlq_retry, 0, -1)}
        assert retries <= set(self._ids())
        assert real == State(
            queued={queue: names for queue, names in self.model.queued.items() if names},
            scheduled=self.model.scheduled,
            inflight={who: names for who, names in self.model.inflight.items() if names},
            started=begun,
            buried=self.model.buried,
            crashes=crashes,
            leases=self.model.leases,
            dead=self.model.dead,
        )


def _place(entry_id: str) -> tuple[int, int]:
    """Where an id stands in the order of the stream."""
    ms, _, seq = entry_id.partition("-")
    return int(ms or 0), int(seq or 0)


def test_every_history_keeps_the_law(server: EmbeddedRedis) -> None:
    """Thirty histories of up to thirty steps."""
    bounded = settings(max_examples=30, stateful_step_count=30, deadline=None, derandomize=True, database=None)
    run_state_machine_as_test(type("Deployment", (Deployment,), {"server": server}), settings=bounded)
