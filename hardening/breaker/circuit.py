"""What one process knows of one breaker, and what it has counted and not yet reported.

A closed breaker is asked nothing: a call costs two readings of a clock and a lock. What was counted goes to Redis in
batches, at most every tenth of a second while all is well and at once after a failure, and the answer brings the state.
No call begins on a state older than a quarter of a second: who has made none for that long asks Redis first.

Guarantees: within a quarter of a second and one round trip after a breaker opened, no process that reaches Redis begins
a call behind it. A result counts only in the generation in which its call began.

Does not guarantee: that every result is counted. What was counted and not reported dies with its process; what was sent
and not answered is not sent again.

Events: ``hardening.circuit.opened``, ``.half_opened``, ``.closed``, ``.forced``.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from hardening.breaker import events
from hardening.breaker.errors import CircuitOpen
from hardening.breaker.passage import Passage
from hardening.breaker.standin import Standin
from hardening.breaker.verdict import Verdict
from hardening.core import telemetry
from hardening.core.scripts import breaking
from hardening.core.scripts.breaking import Seen, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from hardening.breaker.rule import Rule
    from hardening.core.keys import Keys
    from hardening.core.scripts import Call

__all__ = ["Circuit", "Desk"]

#: How old the state may be on which a call begins, in seconds.
FRESH_S = 0.25
#: For how long after its last call a breaker is kept fresh, in seconds.
_IN_USE_S = 1.0
#: How soon to ask again for a place as a probe, in seconds.
_ASK_AGAIN_S = 0.05
#: How soon it is worth trying again when all places of the probes are taken, in seconds.
_PROBED_S = 0.5

_SUCCEEDED = Verdict.SUCCEEDED
_UNKNOWN = Seen("closed", 0, 0, "", "", is_changed=False)
_KINDS: dict[str, type[events.CircuitChanged]] = {
    "open": events.CircuitOpened,
    "half_open": events.CircuitHalfOpened,
    "closed": events.CircuitClosed,
}


class Desk(Protocol):
    """What a circuit needs of its process: see :class:`hardening.breaker.circuits.Circuits`."""

    keys: Keys
    who: str
    is_isolated: bool
    is_asleep: bool

    def ask(self, call: Call) -> Seen | None:
        """Runs a call; None: Redis is away."""

    def rouse(self, *, urgently: bool) -> None:
        """Has what was counted reported soon, or at once."""

    def tell(self) -> None:
        """Tells what asking has brought to light of Redis itself."""


class Circuit:
    """One breaker in one process. Any thread may call any method; a forked child begins anew (:meth:`renew`).

    Args:
        name: the breaker's.
        rule: when it opens.
        desk: the way to Redis.
    """

    def __init__(self, name: str, rule: Rule, desk: Desk) -> None:
        self.name = name
        self.rule = rule
        self._rates = rule.rates
        self._slow_call_s = rule.slow_call_s
        self._desk = desk
        self.renew()

    def renew(self) -> None:
        """Forgets what was counted and what is known, with locks that nobody holds; for a forked child."""
        self._mutex = threading.Lock()  # what is counted, and the stand-in
        self._asking = threading.Lock()  # one question to Redis at a time, so that answers come in order
        self._closed_until_s = self._asked_at_s = self._used_at_s = self._refused_until_s = 0.0
        self._seen = _UNKNOWN
        self._news: list[Seen] = []
        self._is_known = False
        self._standin: Standin | None = None
        self._alone = 0  # the generation of the last stand-in
        self._clear()

    def _clear(self) -> None:
        self._generation = self._seen.generation
        self._calls = self._failures = self._slow = 0
        self._ended: list[str] = []

    # -- calls

    def enter(self) -> Passage:
        """Lets a call through; give what this returns to :meth:`leave`.

        Raises:
            CircuitOpen: not now.
        """
        now_s = time.monotonic()
        if now_s < self._closed_until_s:
            return Passage(self._generation, now_s)
        return self._enter_slowly(now_s)

    @property
    def is_quick(self) -> bool:
        """Whether :meth:`enter` would return without asking Redis."""
        return self._desk.is_isolated or time.monotonic() < self._closed_until_s

    def leave(self, passage: Passage, verdict: Verdict) -> None:
        """A call has ended."""
        if verdict is _SUCCEEDED and self._slow_call_s is None and passage[0] >= 0 and not passage[2]:
            with self._mutex:
                if passage[0] == self._generation:
                    self._calls += 1
            if self._desk.is_asleep:
                self._desk.rouse(urgently=False)
        else:
            self._leave_slowly(passage, verdict)

    def _leave_slowly(self, passage: Passage, verdict: Verdict) -> None:
        now_s = time.monotonic()
        calls = int(verdict is not Verdict.NEITHER)
        failures = int(verdict is Verdict.FAILED)
        slow = int(calls and self._slow_call_s is not None and now_s - passage.began_s >= self._slow_call_s)
        if passage.generation < 0:
            self._leave_standin(passage, now_s, calls, failures, slow)
            return
        with self._mutex:
            if passage.generation != self._generation:
                return
            self._calls += calls
            self._failures += failures
            self._slow += slow
            if passage.probe:
                self._ended.append(passage.probe)
        self._desk.rouse(urgently=bool(failures or slow or passage.probe))

    def _enter_slowly(self, now_s: float) -> Passage:
        self._refresh(now_s)
        if self._desk.is_isolated:
            return self._enter_standin()
        with self._mutex:
            seen, left_s = self._seen, self._left_s()
        if seen.state == "closed":
            return Passage(seen.generation, time.monotonic())
        if seen.state == "open" and left_s > 0:
            raise CircuitOpen(self.name, left_s)
        return self._probe()

    def _left_s(self) -> float:
        if self._seen.left_ms < 0:
            return self.rule.open_s
        return self._asked_at_s + self._seen.left_ms / 1000 - time.monotonic()

    def _probe(self) -> Passage:
        with self._asking_alone():
            left_s = self._refused_until_s - time.monotonic()
            if left_s > 0:
                raise CircuitOpen(self.name, _PROBED_S)
            token = uuid.uuid4().hex
            call = breaking.probe(self._desk.keys, self.name, self._desk.who, self._rates, token)
            seen = self._ask(call)
            if seen is not None and not seen.is_granted and seen.state == "half_open":
                self._refused_until_s = time.monotonic() + _ASK_AGAIN_S
        if seen is None:
            return self._enter_standin()
        if seen.is_granted:
            return Passage(seen.generation, time.monotonic(), token)
        if seen.state == "closed":
            return Passage(seen.generation, time.monotonic())
        left_s = seen.left_ms / 1000 if seen.left_ms >= 0 else self.rule.open_s
        raise CircuitOpen(self.name, min(left_s, _PROBED_S) if seen.state == "half_open" else left_s)

    # -- Redis

    def sync(self, *, now_s: float) -> None:
        """Reports what was counted, and learns the state while calls are made; the reporter's thread calls it."""
        if self.is_used(now_s):
            with self._asking_alone():
                self._report()

    def is_used(self, now_s: float) -> bool:
        """Whether there is something to report, or calls were made just now."""
        if self._calls or self._ended:
            self._used_at_s = now_s
        return now_s - self._used_at_s < _IN_USE_S

    def _refresh(self, now_s: float) -> None:
        if self._desk.is_isolated or now_s - self._asked_at_s < FRESH_S:
            return
        with self._asking_alone():
            if time.monotonic() - self._asked_at_s >= FRESH_S and not self._desk.is_isolated:
                self._report()

    def _report(self) -> None:
        with self._mutex:
            tally = Tally(self._generation, self._calls, self._failures, self._slow)
            ended = self._ended
            self._clear()
        self._ask(breaking.report(self._desk.keys, self.name, self._desk.who, tally, self._rates, ended))

    def _ask(self, call: Call) -> Seen | None:
        asked_at_s = time.monotonic()
        seen = self._desk.ask(call)
        if seen is not None:
            self._learn(seen, asked_at_s)
        return seen

    def force(self, call: Call, client: Redis) -> Seen:
        """Runs what changes the breaker by hand, and knows of it at once.

        Raises:
            redis.RedisError: it did not run.
        """
        with self._asking_alone():
            seen = Seen.parse(call.run(client))
            self._learn(seen, time.monotonic())
        return seen

    def _learn(self, seen: Seen, asked_at_s: float) -> None:
        with self._mutex:
            is_news = self._is_known and seen.generation != self._seen.generation
            self._seen, self._asked_at_s, self._is_known = seen, asked_at_s, True
            self._closed_until_s = asked_at_s + FRESH_S if seen.state == "closed" else 0.0
            if seen.generation != self._generation:
                self._clear()
                self._refused_until_s = 0.0
            if is_news or seen.is_changed:
                self._news.append(seen)

    @contextmanager
    def _asking_alone(self) -> Iterator[None]:
        """Keeps others from asking; what was learned is told afterwards, for whoever hears of it may ask himself."""
        try:
            with self._asking:
                yield
        finally:
            with self._mutex:
                news, self._news = self._news, []
            self._desk.tell()
            for seen in news:
                self._tell(seen)

    def _tell(self, seen: Seen) -> None:
        kind = events.CircuitForced if seen.is_forced else _KINDS.get(seen.state, events.CircuitClosed)
        telemetry.emit(
            kind(
                breaker=self.name, generation=seen.generation, state=seen.state,
                who=seen.who, why=seen.why, is_ours=seen.is_changed,
            )
        )  # fmt: skip

    # -- on its own

    def isolate(self) -> None:
        """Redis is away: from now on this process goes by what it sees alone."""
        with self._mutex:
            self._dismiss_standin()
            self._stand_in()
            self._closed_until_s = 0.0
            self._clear()

    def _stand_in(self) -> Standin:
        if self._standin is None:
            left_ms = -1 if self._seen.left_ms < 0 else int(max(0.0, self._left_s()) * 1000)
            self._alone -= 1
            seen = self._seen._replace(left_ms=left_ms, generation=self._alone)
            self._standin = Standin(self.name, self._rates, seen, time.monotonic(), self._desk.who)
        return self._standin

    def _dismiss_standin(self) -> None:
        if self._standin is not None:
            self._alone, self._standin = self._standin.seen.generation, None

    def rejoin(self) -> None:
        """Redis is back: what it says counts."""
        with self._mutex:
            self._dismiss_standin()
            self._asked_at_s = self._closed_until_s = 0.0
            self._clear()

    def _enter_standin(self) -> Passage:
        before = after = None
        try:
            with self._mutex:  # there may be no stand-in: Redis came back this very moment, and will be asked again
                standin = self._stand_in()
                before = standin.seen
                try:
                    return standin.enter(time.monotonic(), uuid.uuid4().hex)
                finally:
                    after = standin.seen
        finally:
            self._tell_of(before, after)

    def _leave_standin(self, passage: Passage, now_s: float, calls: int, failures: int, slow: int) -> None:
        with self._mutex:
            if (standin := self._standin) is None:
                return
            before = standin.seen
            standin.leave(passage, now_s, calls=calls, failures=failures, slow=slow)
            after = standin.seen
        self._tell_of(before, after)

    def _tell_of(self, before: Seen | None, after: Seen | None) -> None:
        if after is not None and after is not before:
            self._tell(after)

    # -- what it says of itself

    @property
    def seen(self) -> Seen:
        """The state as this process knows it; :attr:`Seen.left_ms` is as of when Redis said so."""
        with self._mutex:
            return self._standin.seen if self._standin is not None and self._desk.is_isolated else self._seen
