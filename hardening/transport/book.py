"""What one consumer holds: every message it took from Redis and has not settled.

The book belongs to the process, not to a connection: it outlives reconnects, so a task that finishes after
its connection broke is still acknowledged, and nothing that runs here is given to anyone else.

Guarantees: :meth:`Book.begin` has written the begin mark to Redis before it says yes. A message is
settled once: later calls for the same message change nothing.

Events: ``hardening.consumer.reaped``, ``.reconciled``, ``hardening.message.acked_late``, ``.released``.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hardening.core import telemetry
from hardening.core.membership import Lease, boot_clock_s
from hardening.core.scripts import Script
from hardening.transport.consuming import Consuming
from hardening.transport.held import Held, tell_late, tell_released
from hardening.transport.owed import Owed, insist
from hardening.transport.strays import free_strays
from hardening.transport.suspects import Suspects
from hardening.transport.vacant import Vacant

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from redis import Redis

    from hardening.core.scripts import Call, Death, Scope, Taken
    from hardening.core.settings import Settings
    from hardening.transport.held import Why
    from hardening.transport.line import Line

__all__ = ["Book"]

_Batch = tuple[list[Held], list[Held]]

#: Redis is away, or is just being replaced.
_UNREACHABLE = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OSError)


class Book:
    """The messages one consumer holds.

    Any thread of the process may call any method. Not for use in a forked child.

    Args:
        client: a client of the book's own, for what cannot wait for the event loop.
        scope: how calls sign themselves.
        settings: for crash limits and the lease.

    Attributes:
        chores: run about once a second by the lease's thread, after the book's own upkeep.
    """

    def __init__(self, client: Redis, scope: Scope, settings: Settings) -> None:
        self._client = client
        self._scope = scope
        self._settings = settings
        self.chores: list[Callable[[], object]] = []
        self._mutex = threading.RLock()
        self._flushing = threading.Lock()
        self._line: Line | None = None
        self._held: dict[int, Held] = {}
        self._waiting = 0
        self._acks: list[Held] = []
        self._begins: list[Held] = []
        self._sent: dict[int, _Batch] = {}
        self._later = Owed(client, self._mutex)
        self._clock_offset_s = 0.0
        self.lease = Lease(client, scope.keys, ttl_s=settings.lease_ttl_s, on_reaped=self._drop, on_beat=self._beat)
        self.suspects = Suspects(settings.max_crashes)
        self.vacant = Vacant(lambda: self.wake())  # noqa: PLW0108 - which is set later
        self.consuming = Consuming(client, scope.keys, self.lease, again_s=settings.lease_ttl_s)
        #: Set while an event loop flushes for us; otherwise every ack is written at once.
        self.has_loop = False
        #: Makes the event loop come round and flush, when another thread settled something.
        self.wake: Callable[[], None] = lambda: None
        #: Set while the loop is woken when a task has ended, which follows its ack at once.
        self.is_told_of_ends = False
        #: Begins what there is room for in a pool of threads; called before the event loop flushes.
        self.fill: Callable[[], None] = lambda: None
        #: Set while the owner will come back with another connection after this one breaks.
        self.keep = False

    # -- what is held

    @property
    def size(self) -> int:
        """How many messages are held."""
        return len(self._held)

    @property
    def waiting(self) -> int:
        """How many of them have not been begun."""
        return self._waiting

    def now_ms(self) -> int:
        """The time at Redis, as of the last take."""
        return int((boot_clock_s() + self._clock_offset_s) * 1000)

    def admit(self, taken: Taken, consumer: str) -> list[Held]:
        """Enters what a take brought, unless the name under which it was taken has been lost since."""
        with self._mutex:
            self._clock_offset_s = taken.now_ms / 1000 - boot_clock_s()
            if consumer != self.lease.consumer:
                return []
            admitted = [Held.of(consumer, message) for message in taken.messages]
            self._held.update((held.seq, held) for held in admitted)
            self._waiting += len(admitted)
        return admitted

    def _remove(self, held: Held) -> bool:
        if self._held.pop(held.seq, None) is None:
            return False
        self.suspects.let_go(held)
        if not held.begun:
            self._waiting -= 1
        return True

    def take_call(self, lists: Sequence[str], limit: int) -> tuple[Call, str]:
        """The call that takes for this consumer, and its name now; the reply goes to :meth:`admit` with it."""
        consumer = self.lease.consumer
        return self._scope.take(consumer, lists, limit), consumer

    def forget(self, many: Iterable[Held]) -> None:
        """Holds these no longer; the next :meth:`use_line` gives them back."""
        with self._mutex:
            for held in many:
                self._remove(held)

    def take_away(self, wanted: Collection[str]) -> list[Held]:
        """Holds what has not been begun of these, by message id, no longer; it cannot be begun any more."""
        with self._mutex:
            lost = [held for held in self._held.values() if not held.begun and held.message_id in wanted]
            for held in lost:
                held.gone = self._remove(held)
        return lost

    # -- begin and ack

    def begin(self, many: Sequence[Held]) -> list[bool]:
        """Marks messages as begun, in Redis and in one write, before their tasks run.

        Returns:
            For each whether it may run here: not when it was taken away, the lease ran out, or Redis does not answer.
        """
        marked = [self._mark(held) for held in many]
        is_sure = None in marked and self._is_written()
        return [
            may if may is not None else (is_sure and not held.gone) or self._give_up(held)
            for held, may in zip(many, marked, strict=True)
        ]

    def _is_written(self) -> bool:
        self.flush()
        line = self._line
        return (not self.keep if line is None else line.is_heard()) and self.lease.is_held()

    def _mark(self, held: Held) -> bool | None:
        """Whether it may run; None: if the mark gets to Redis."""
        with self._mutex:
            if held.begun or held.gone or held.seq not in self._held:
                return held.begun
            if not self.lease.is_held():
                return self._give_up(held)
            held.begun = True
            self._waiting -= 1
            self._begins.append(held)
            return None

    def _give_up(self, held: Held) -> Literal[False]:
        with self._mutex:
            if self._remove(held):
                release = self._scope.release(held.consumer, [held.seq])
                self._later.append(release, lambda _: tell_released([held], "lapsed"))
        return False

    def ack(self, held: Held) -> None:
        """Settles a message whose work is done."""
        with self._mutex:
            is_late = held.gone
            if not is_late and self._remove(held):
                self._acks.append(held)
        if is_late:
            self._later.run(self._scope.ack_late(held.list_key, held.raw), partial(tell_late, held))
        elif self.has_loop:
            if not self.is_told_of_ends:
                self.wake()
        else:
            self.flush()
        if held.mailbox:
            self.vacant.note([held])

    def flush(self) -> bool:
        """Writes what has gathered since the last time; returns whether there is a connection to write to."""
        with self._flushing:
            with self._mutex:
                line, batch = self._line, (self._acks, self._begins)
                if not (batch[0] or batch[1]):
                    return line is not None
                if line is not None:
                    self._acks, self._begins = [], []
                    self._sent[id(batch)] = batch
            if line is not None:
                try:
                    line.send(self._ack_call(*batch), partial(self._confirmed, batch))
                except _UNREACHABLE:
                    self.lose_line()
            elif not self.keep:
                self._flush_now()
            return self._line is not None

    def _ack_call(self, acks: list[Held], begins: list[Held]) -> Call:
        return self._scope.ack(self.lease.consumer, [held.mark for held in acks], [held.mark for held in begins])

    def _confirmed(self, batch: _Batch, removed: int) -> None:
        with self._mutex:
            self._sent.pop(id(batch), None)
        self._check(batch[0], removed)

    def _check(self, acks: list[Held], removed: int) -> None:
        if removed < len(acks):
            for held in acks:  # some had been taken away: if a copy came back, it must not run
                self._later.run(self._scope.ack_late(held.list_key, held.raw), partial(tell_late, held))

    def _flush_now(self) -> None:
        """Settles what has gathered, without a line, and waits for the replies."""
        with self._mutex:
            acks, begins = self._acks, self._begins
            if acks or begins:
                removed = int(self._ack_call(acks, begins).run(self._client))
                self._acks, self._begins = [], []
                self._check(acks, removed)
            self._later.settle()

    # -- the rarer ends of a message

    def release(self, many: Iterable[Held], *, why: Why, due_ms: int = 0) -> None:
        """Gives messages back, uncharged: now, or when due (ms, time of Redis)."""
        with self._mutex:
            back = [held for held in many if self._remove(held)]
        if back:
            seqs = [held.seq for held in back]
            call = self._scope.release(self.lease.consumer, seqs, due_ms=due_ms, keeps_place=why != "not_due")
            self._later.run(call, lambda _: tell_released(back, why))

    def bury(self, held: Held, death: Death) -> None:
        """Moves a message to the dead-letter queue, also an acked one; not one that was taken away, and runs again."""
        if held.gone:
            return
        with self._mutex:
            was_held = self._remove(held)
            if not was_held:
                with suppress(*_UNREACHABLE):  # the ack may still be on its way
                    self._flush_now()
        list_key, raw = ("", b"") if was_held else (held.list_key, held.raw)
        self._later.run(self._scope.bury(held.consumer, held.seq, death, list_key=list_key, raw=raw))
        self.vacant.note([held])

    def crash(self, held: Held, death: Death) -> bool:
        """Charges a message whose process died.

        Returns:
            Whether it has now been buried.
        """
        with self._mutex:
            if not self._remove(held):
                return False
        call = self._scope.crash(
            held.consumer, held.seq, max_crashes=self._settings.max_crashes,
            base_delay_ms=self._settings.crash_delay_ms, death=death,
        )  # fmt: skip
        reply = self._later.run(call)
        self.vacant.note([held])
        return reply == 1

    # -- connections come and go

    def use_line(self, line: Line) -> None:
        """Takes up a new connection: settles what is owed, then frees what a cut take left behind.

        Raises:
            redis.RedisError: Redis is not there after all.
        """
        for name in ("take", "ack"):  # a begin mark must not wait for somebody to read "NOSCRIPT"
            Script.load(name).cache(self._client)
        with self._mutex:
            self._flush_now()
            self._line = line
            free_strays(self._client, self._scope, self.lease.consumer, self._held)

    def lose_line(self) -> None:
        """The connection is gone: what was not confirmed is owed again. Repeating it changes nothing."""
        with self._mutex:
            self._line = None
            for acks, begins in reversed(self._sent.values()):
                self._acks[:0] = acks
                self._begins[:0] = begins
            self._sent.clear()

    def _beat(self) -> None:
        if self._line is None or self._later:
            self._flush_now()
        for chore in self.chores:
            chore()

    def _drop(self, lost: str) -> None:
        """The lease was lost: what was not begun is forgotten, what was begun will be acked late."""
        with self._mutex:
            held_now = list(self._held.values())
            for held in held_now:
                held.gone = True
                self._remove(held)
            for held in self._acks:
                held.gone = True
            late, self._acks = self._acks, []
            self._begins.clear()
        for held in late:
            self.ack(held)
        telemetry.emit(telemetry.ConsumerReaped(consumer=lost, held=len(held_now)))

    def close(self) -> None:
        """Settles and gives back everything, and ends the lease. Idempotent.

        When Redis is away it is asked again for as long as a lease lasts: what ran to its end here must not run
        again for want of an ack. After that the lease has run out, and others recover what is left.
        """
        is_settled = insist(self._settle_all, for_s=self._settings.lease_ttl_s)
        self.lease.stop(leave=is_settled)

    def _settle_all(self) -> None:
        self.lose_line()
        self._flush_now()
        self.release(list(self._held.values()), why="stopping")
        self._later.settle()
        free_strays(self._client, self._scope, self.lease.consumer, self._held)
