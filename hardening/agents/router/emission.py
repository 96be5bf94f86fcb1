"""One signal on its way: what is asked of Redis next, whoever asks, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardening.agents.router.events import SignalDropped, SignalEmitted, SignalUnsubscribed
from hardening.agents.router.mould import Casting
from hardening.agents.router.pattern import name_words
from hardening.agents.router.routes import Emitter, routes_of
from hardening.agents.router.stats import ENDS, bucket_of
from hardening.agents.router.subscribing import grace_ms
from hardening.core import telemetry
from hardening.core.deployment import scope_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import signalling
from hardening.core.scripts.signalling import Copy, Number
from hardening.delivery.mailbox_events import MailboxFilled

if TYPE_CHECKING:
    from celery import Celery

    from hardening.agents.router.routes import Route
    from hardening.agents.router.subscriber import Subscriber
    from hardening.core.scripts import Call
    from hardening.delivery.receipt import Receipt

__all__ = ["Drop", "Emission", "Emitting"]

#: The most messages of one script call, while which Redis does nothing else, and about the most bytes.
_MOST, _MOST_BYTES = 1000, 2**24
#: What the script tells of a mailbox that fills begins so.
_FILLED = "filled:"


@dataclass(frozen=True, slots=True)
class Drop:
    """A message that was dropped.

    Attributes:
        subscriber: whose.
        reason: ``mailbox_full``: its mailbox has no room; the message is a dead letter. ``mailbox_full_oldest``: it
            has this one, and lost its oldest, likewise. ``not_a_queue``: the key with the queue's name is no list.
            ``worker_silent``: the lease of the worker that the subscription is tied to ran out.
    """

    subscriber: Subscriber
    reason: str


@dataclass(frozen=True, slots=True)
class Emission:
    """What became of a signal.

    Attributes:
        signal: its name.
        routed: how many subscribers have it.
        dropped: what was dropped, and for whom.
        spooled: the receipt of the task that will emit it, as Redis is away; None: it is emitted.
        failed: why it was not emitted, where that is not to be raised.
    """

    signal: str
    routed: int = 0
    dropped: tuple[Drop, ...] = ()
    spooled: Receipt | None = None
    failed: Exception | None = None


class Emitting:
    """The steps of one emission: a call to run, the reply to it, and so on.

    After a call that failed it may be asked for again: what Redis did of it is recognised.

    Args:
        app: who emits.
        signal: its name.
        payload: JSON.
        again: by which it was known when it was tried before; None: it is new.

    Raises:
        ValueError: that is no name.
        kombu.exceptions.EncodeError: the payload is not JSON.
        ConfigError: the app is not hardened.
    """

    def __init__(self, app: Celery, signal: str, payload: Any, *, again: Number | None = None) -> None:
        self._begin_s = boot_clock_s()
        name_words(signal)
        self._scope, self._grace_ms = scope_of(app), grace_ms(app)
        self._signal = signal
        self._casting = Casting(app, signal, payload)
        self._routes = routes_of(app)
        self._is_lent = again is None
        self.emitter = Emitter(again.emitter, again.number - 1) if again else self._routes.lend()
        #: By which it is known, should it have to be emitted again.
        self.number = self._number = self.emitter.next()
        self._asked: tuple[list[Route], Call] | None = None
        self._reads = False
        self._told: set[str] = set()
        self._is_first = True
        self._is_done = False
        self._routed = 0
        self._drops: list[Drop] = []

    def call(self) -> Call | None:
        """What Redis is to be asked next; None: it is done."""
        if self._reads:
            return signalling.read_subscriptions(self._scope.keys, self._routes.version)
        if self._asked is None and not self._is_done:
            self._asked = self._next()
        return self._asked[1] if self._asked else None

    def hear(self, reply: Any) -> None:
        """What Redis answered."""
        if self._reads:
            self._routes.hear(reply)
            self._reads = False
        elif not isinstance(reply, bytes):
            self._asked, self._reads = None, True
        elif self._asked is not None:
            asked, self._asked = self._asked[0], None
            self._heard(asked, [int(part) if part.isdigit() else part.decode() for part in reply.split()])

    def done(self) -> Emission:
        """What became of it, told to all who listen; its emitter is free."""
        took_s = boot_clock_s() - self._begin_s
        self.emitter.took = bucket_of(took_s), int(took_s * 1e6)
        if self._is_lent:  # what is emitted again may be so elsewhere at the same time, under the same name
            self._routes.give_back(self.emitter)
        telemetry.emit(SignalEmitted(signal=self._signal, routed=self._routed, dropped=len(self._drops), took_s=took_s))
        for drop in self._drops:
            telemetry.emit(SignalDropped(signal=self._signal, subscriber=str(drop.subscriber), reason=drop.reason))
        return Emission(self._signal, self._routed, tuple(self._drops))

    def _next(self) -> tuple[list[Route], Call]:
        """The call that publishes to those who have not been told: to all of them, if they are not very many."""
        version, matching = self._routes.match(self._signal)
        routes: list[Route] = []
        copies: list[Copy] = []
        size = 0
        for route in matching:
            if route.key in self._told:
                continue
            if len(routes) >= _MOST or size > _MOST_BYTES:
                break
            mould = self._routes.mould(route)
            copies.append(Copy(mould.list_key, mould.queue, mould.message(self._casting), route.conditions))
            routes.append(route)
            size += len(copies[-1].raw)
        call = signalling.emit(
            self._scope, self._number, copies, version=version, grace_ms=self._grace_ms, is_first=self._is_first,
            took=self.emitter.took if self._is_first else ("", 0),
        )  # fmt: skip
        return routes, call

    def _heard(self, asked: list[Route], told: list[Any]) -> None:
        self._told.update(route.key for route in asked)
        self._routed += told[0]
        for place, reason in zip(told[1::2], told[2::2], strict=True):
            # The answer to an earlier attempt may be about others, where a task emits it again.
            to = asked[place].to if place < len(asked) else None
            if to is None:
                continue
            if reason in ENDS:
                telemetry.emit(SignalUnsubscribed(subscriber=str(to), reason=reason))
            elif reason.startswith(_FILLED):
                waiting, _, bound = reason.removeprefix(_FILLED).partition("/")
                telemetry.emit(MailboxFilled(agent=to.agent, waiting=int(waiting), bound=int(bound)))
            else:
                self._drops.append(Drop(to, reason))
        self._is_done = not asked or not self._has_more()
        if not self._is_done:
            self._is_first, self._number = False, self.emitter.next()

    def _has_more(self) -> bool:
        return any(route.key not in self._told for route in self._routes.match(self._signal)[1])
