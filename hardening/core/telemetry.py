"""What happened, as typed events to which anyone may subscribe.

One naming rule: ``hardening.<noun>.<verb in the past tense>``. An event states a fact. Logs, Flower,
Prometheus and OpenTelemetry only subscribe, see :func:`log_events`::

    subscription = attach("hardening.message", lambda event: print(event))
    detach(subscription)

Guarantees: subscribers run at once, in the thread that emits, in the order they were attached. One that
raises is counted (:func:`failures`), reported to the others the first time, and harms nobody else. Emitting
takes no lock. A forked child keeps the subscriptions it was born with.

Does not guarantee: that a slow subscriber slows nobody down, nor that it is never called after
:func:`detach` by a thread that was already emitting. What is raised into the thread from outside while a
subscriber runs, such as Celery's soft time limit, counts as raised by the subscriber.

Events: ``hardening.subscriber.failed``; all others are emitted by the modules that do the deed.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar

from hardening.core.redaction import SECRET_NAMES, Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "ChoreFailed",
    "ConsumerJoined",
    "ConsumerLeft",
    "ConsumerReaped",
    "ConsumerReconciled",
    "ConsumerRecovered",
    "Event",
    "LateAcked",
    "LeaseRenewFailed",
    "MessageBuried",
    "MessageReleased",
    "PublishRetried",
    "SettingOverridden",
    "StockRestored",
    "SubscriberFailed",
    "Subscription",
    "attach",
    "capture",
    "detach",
    "emit",
    "failures",
    "log_events",
]


@dataclass(frozen=True, slots=True)
class Event:
    """A fact. Subclasses say which, and carry what is known of it as plain values."""

    name: ClassVar[str]
    is_alarming: ClassVar[bool] = False  #: whether an operator should hear of it


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerJoined(Event):
    """A consumer of this process took its lease."""

    name = "hardening.consumer.joined"
    consumer: str  #: its name


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerReaped(Event):
    """A consumer of this process lost its lease: it was silent for too long, and others hold it for dead."""

    name = "hardening.consumer.reaped"
    consumer: str  #: the name it lost
    held: int  #: how many messages it held


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerLeft(Event):
    """A consumer of this process ended its lease."""

    name = "hardening.consumer.left"
    consumer: str  #: its name
    left_behind: int  #: how many messages it still held; they are free to recover


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerRecovered(Event):
    """A dead consumer's messages were moved back."""

    name = "hardening.consumer.recovered"
    consumer: str  #: the dead one
    restored: int  #: how many messages went back to their queues
    charged: int  #: how many had begun, and were charged with a crash
    buried: int  #: how many had crashed too often, and went to the dead-letter queue


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerReconciled(Event):
    """Messages were released that Redis thought a consumer of this process held, and it did not."""

    name = "hardening.consumer.reconciled"
    consumer: str  #: its name
    released: int  #: how many messages


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageBuried(Event):
    """A message went to the dead-letter queue."""

    name = "hardening.message.buried"
    message: str  #: its id
    task: str  #: its task's name; empty if it could not be read
    queue: str  #: where it came from
    reason: str  #: why, as stored (``dlq.Reason``)
    error: str = ""  #: the last error as text; empty if there was none
    entry: str = ""  #: id of its dead letter, where a sweep buried it; empty: it is told before Redis has answered
    raw: bytes = field(default=b"", repr=False)  #: the message, byte for byte; never logged


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReleased(Event):
    """A message went back to its queue, or to the schedule of that, and nobody was charged."""

    name = "hardening.message.released"
    queue: str  #: where it is now
    #: One of a few words: ``breaker``, ``cancelled``, ``lapsed``, ``not_due``, ``requeued``, ``stopping``, ``suspect``.
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LateAcked(Event):
    """A message was acked after its consumer had lost its lease."""

    name = "hardening.message.acked_late"
    message: str  #: its id
    removed: bool  #: whether the restored copy was removed in time, so that it does not run twice


@dataclass(frozen=True, slots=True, kw_only=True)
class StockRestored(Event):
    """Messages that a stock worker had left unacked went back to their queues."""

    name = "hardening.stock.restored"
    restored: int  #: how many


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRenewFailed(Event):
    """A lease could not be renewed; it is tried again until it runs out."""

    name = "hardening.lease.renew_failed"
    consumer: str  #: whose lease
    error: str  #: what Redis, or the way to it, answered


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoreFailed(Event):
    """Something a consumer does beside its work failed, and not for want of Redis; it is tried again."""

    name = "hardening.chore.failed"
    consumer: str  #: whose chore
    error: str  #: what it raised


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingOverridden(Event):
    """A setting of the app would break a guarantee, so another value is in force."""

    name = "hardening.setting.overridden"
    setting: str  #: its name
    value: object  #: the value now in force
    why: str  #: the guarantee at stake


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberFailed(Event):
    """A subscriber raised for the first time; further failures are only counted."""

    name = "hardening.subscriber.failed"
    subscriber: str  #: its name, as in :func:`failures`
    event: str  #: the name of the event it failed on
    error: str  #: what it raised


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRetried(Event):
    """A publication failed and is tried again."""

    name = "hardening.publish.retried"
    task: str  #: the task's name
    attempt: int  #: how often it has failed so far
    error: str  #: what Redis, or the way to it, answered


@dataclass(slots=True, eq=False)
class Subscription:
    """What :func:`attach` returns and :func:`detach` takes.

    Attributes:
        prefix: the events it covers.
        subscriber: what is called with each.
        has_failed: whether it has raised yet.
    """

    prefix: str
    subscriber: Callable[[Event], None]
    has_failed: bool = field(default=False, init=False)

    def covers(self, name: str) -> bool:
        """Whether an event of this name is for this subscription."""
        return not self.prefix or name == self.prefix or name.startswith(f"{self.prefix}.")


class _Bus:
    """The subscriptions of this process. Readers take the tuple as it is, writers replace it."""

    def __init__(self) -> None:
        self._renew_lock()
        self._subscriptions: tuple[Subscription, ...] = ()
        self._failures: Counter[str] = Counter()
        # A child forked while another thread was attaching would inherit a lock that nobody releases.
        os.register_at_fork(after_in_child=self._renew_lock)

    def attach(self, prefix: str, subscriber: Callable[[Event], None]) -> Subscription:
        """Calls the subscriber with every event under a prefix, from now on.

        Args:
            prefix: whole dotted words: ``hardening.message`` covers ``hardening.message.buried`` but not
                ``hardening.messages.x``. Empty: everything.
            subscriber: called in the thread that emits; it should be quick.
        """
        subscription = Subscription(prefix, subscriber)
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def detach(self, subscription: Subscription) -> bool:
        """Ends a subscription. Returns whether there was one to end."""
        with self._lock:
            before = self._subscriptions
            self._subscriptions = tuple(one for one in before if one is not subscription)
            return len(self._subscriptions) < len(before)

    def emit(self, event: Event) -> None:
        """Tells everyone who subscribed. Never raises what a subscriber raised."""
        for subscription in self._subscriptions:
            if subscription.covers(event.name):
                self._deliver(subscription, event)

    def failures(self) -> dict[str, int]:
        """How often each subscriber raised, by its dotted name."""
        with self._lock:
            return dict(self._failures)

    def _deliver(self, subscription: Subscription, event: Event) -> None:
        try:
            subscription.subscriber(event)
        except Exception as error:  # noqa: BLE001 - the edge: an observer must not harm what it observes
            self._count(subscription, event, error)

    def _count(self, failed: Subscription, event: Event, error: Exception) -> None:
        named = failed.subscriber if hasattr(failed.subscriber, "__qualname__") else type(failed.subscriber)
        subscriber = f"{named.__module__}.{named.__qualname__}"
        with self._lock:
            self._failures[subscriber] += 1
            same = [one for one in self._subscriptions if one.subscriber == failed.subscriber]
            known = any(one.has_failed for one in [failed, *same])
            failed.has_failed = True
        if known:
            return
        fact = SubscriberFailed(subscriber=subscriber, event=event.name, error=repr(error))
        for other in self._subscriptions:
            if other.subscriber != failed.subscriber and other.covers(fact.name):
                self._deliver(other, fact)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()


_BUS = _Bus()
attach = _BUS.attach
detach = _BUS.detach
emit = _BUS.emit
failures = _BUS.failures


@contextmanager
def capture(prefix: str = "") -> Iterator[list[Event]]:
    """Collects the events under a prefix, of all threads, for tests.

    Yields:
        The list of events so far; it grows until the block ends.
    """
    events: list[Event] = []
    subscription = attach(prefix, events.append)
    try:
        yield events
    finally:
        detach(subscription)


#: What an operator should hear of, beside what says so itself. Everything else is told at level INFO.
_ALARMING = frozenset(
    {ChoreFailed, ConsumerReaped, LeaseRenewFailed, MessageBuried, SettingOverridden, SubscriberFailed}
)


def log_events(
    prefix: str = "", logger: logging.Logger | None = None, *, redact: Iterable[str] = SECRET_NAMES
) -> Subscription:
    """Logs every event under a prefix as ``name key=value ...``.

    Args:
        prefix: as for :func:`attach`.
        logger: where to; default: ``hardening``.
        redact: keys whose values are masked in texts, see the setting of that name.
    """
    redactor = Redactor(redact)
    target = logging.getLogger("hardening") if logger is None else logger

    def log(event: Event) -> None:
        level = logging.WARNING if event.is_alarming or type(event) in _ALARMING else logging.INFO
        if target.isEnabledFor(level):
            target.log(level, "%s", _line(event, redactor))

    return attach(prefix, log)


def _line(event: Event, redactor: Redactor) -> str:
    values = ((one.name, redactor.text(str(getattr(event, one.name)))) for one in fields(event) if one.repr)
    return " ".join([event.name, *(f"{key}={_word(value)}" for key, value in values)])


def _word(text: str) -> str:
    """The text, quoted where it could be taken for more than one value or more than one line."""
    return text if text and " " not in text and text.isprintable() else repr(text)
