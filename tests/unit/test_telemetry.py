"""Events: their names, who hears them, and what happens when a listener fails."""

from __future__ import annotations

import functools
import logging
import re
import threading
from dataclasses import FrozenInstanceError, fields

import pytest

from hardening.breaker import events as circuit_events
from hardening.core import outage, telemetry
from hardening.core.telemetry import (
    ConsumerJoined,
    ConsumerReaped,
    Event,
    LeaseRenewFailed,
    MessageBuried,
    MessageReleased,
    SettingOverridden,
    SubscriberFailed,
    attach,
    capture,
    detach,
    emit,
    failures,
    log_events,
)
from hardening.delivery import cancel_events
from tests.forked import forked

JOINED = ConsumerJoined(consumer="host:1:abc")
RELEASED = MessageReleased(queue="celery", why="shutdown")
BURIED = MessageBuried(message="m1", task="t.add", queue="celery", reason="crashed", error="exit 9\nbang")

#: The documented API. Dashboards depend on it: change it only with the major version.
CATALOGUE = {
    "hardening.consumer.joined": ["consumer"],
    "hardening.consumer.reaped": ["consumer", "held"],
    "hardening.consumer.left": ["consumer", "left_behind"],
    "hardening.consumer.recovered": ["consumer", "restored", "charged", "buried"],
    "hardening.consumer.reconciled": ["consumer", "released"],
    "hardening.message.buried": ["message", "task", "queue", "reason", "error", "entry", "raw"],
    "hardening.message.released": ["queue", "why"],
    "hardening.message.acked_late": ["message", "removed"],
    "hardening.stock.restored": ["restored"],
    "hardening.chore.failed": ["consumer", "error"],
    "hardening.lease.renew_failed": ["consumer", "error"],
    "hardening.setting.overridden": ["setting", "value", "why"],
    "hardening.subscriber.failed": ["subscriber", "event", "error"],
    "hardening.publish.retried": ["task", "attempt", "error"],
    "hardening.breaker.changed": ["state", "generation", "pause_s"],
    "hardening.message.cancelled": ["receipt", "task", "queue", "place", "is_result_told"],
    "hardening.circuit.opened": ["breaker", "generation", "state", "who", "why", "is_ours"],
    "hardening.circuit.half_opened": ["breaker", "generation", "state", "who", "why", "is_ours"],
    "hardening.circuit.closed": ["breaker", "generation", "state", "who", "why", "is_ours"],
    "hardening.circuit.forced": ["breaker", "generation", "state", "who", "why", "is_ours"],
    "hardening.circuit.isolated": ["breakers", "error"],
    "hardening.circuit.rejoined": ["breakers", "away_s"],
    "hardening.message.refused": ["receipt", "task", "queue", "error"],
    "hardening.message.spooled": ["receipt", "task", "queue", "why"],
    "hardening.spool.failed": ["error"],
    "hardening.spool.flushed": ["flushed", "repeated", "refused", "left"],
}


def _event_types() -> list[type[Event]]:
    rooms = (
        telemetry,
        outage,
        cancel_events,
        circuit_events,
    )
    public = [getattr(room, name) for room in rooms for name in room.__all__]
    return [one for one in public if isinstance(one, type) and issubclass(one, Event) and one is not Event]


def test_the_catalogue_of_events_is_as_documented() -> None:
    """Every public event, with its name and its fields in order."""
    assert {one.name: [each.name for each in fields(one)] for one in _event_types()} == CATALOGUE


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_name_is_hardening_noun_verb(name: str) -> None:
    """One naming rule, so that prefixes mean something."""
    assert re.fullmatch(r"hardening\.[a-z]+\.[a-z_]*(ed|left|overridden)(_late)?", name)


def test_events_cannot_be_changed_or_given_by_position() -> None:
    """A fact is a fact, and its fields are told by name."""
    with pytest.raises(FrozenInstanceError):
        JOINED.consumer = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        ConsumerJoined("host:1:abc")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("prefix", "heard"),
    [
        ("", [JOINED, RELEASED]),
        ("hardening", [JOINED, RELEASED]),
        ("hardening.message", [RELEASED]),
        ("hardening.message.released", [RELEASED]),
        ("hardening.mess", []),
        ("hardening.messages", []),
        ("hardening.message.released.now", []),
    ],
)
def test_a_prefix_covers_whole_words(prefix: str, heard: list[Event]) -> None:
    """``hardening.message`` is neither ``hardening.mess`` nor ``hardening.messages``."""
    with capture(prefix) as events:
        emit(JOINED)
        emit(RELEASED)
    assert events == heard


def test_subscribers_are_called_in_the_order_they_were_attached() -> None:
    """First come, first told."""
    told: list[str] = []
    subscriptions = [attach("hardening", lambda _, n=name: told.append(n)) for name in "abc"]  # type: ignore[misc]
    emit(JOINED)
    assert [detach(one) for one in subscriptions] == [True, True, True]
    assert told == ["a", "b", "c"]


def test_detaching_ends_one_subscription_once() -> None:
    """The same subscriber may be attached twice; each subscription ends by itself."""
    events: list[Event] = []
    first, second = attach("", events.append), attach("", events.append)
    assert detach(first)
    assert not detach(first)
    emit(JOINED)
    assert detach(second)
    emit(JOINED)
    assert events == [JOINED]


def test_a_subscriber_may_detach_itself() -> None:
    """Readers go on with the tuple they took; nobody waits for a lock."""
    events: list[Event] = []

    def once(event: Event) -> None:
        events.append(event)
        detach(subscription)

    subscription = attach("", once)
    emit(JOINED)
    emit(JOINED)
    assert events == [JOINED]


def test_a_failing_subscriber_is_isolated_counted_and_reported_once() -> None:
    """The others hear the event, and once that somebody failed on it."""

    def broken(event: Event) -> None:
        raise ValueError(event.name)

    name = f"{__name__}.{broken.__qualname__}"
    before = failures().get(name, 0)
    subscription = attach("hardening.consumer", broken)
    with capture() as events:
        emit(JOINED)
        emit(JOINED)
    detach(subscription)
    reported = SubscriberFailed(subscriber=name, event=JOINED.name, error="ValueError('hardening.consumer.joined')")
    assert events == [reported, JOINED, JOINED]
    assert failures()[name] == before + 2
    assert subscription.has_failed


def test_a_failing_subscriber_never_hears_of_its_own_failure() -> None:
    """Not even when it is attached twice; two broken ones hear of each other, and that is all."""
    heard: dict[str, list[str]] = {"a": [], "b": []}

    def broken(name: str, event: Event) -> None:
        heard[name].append(event.name)
        raise ValueError

    a, b = functools.partial(broken, "a"), functools.partial(broken, "b")
    subscriptions = [attach("", a), attach("hardening.subscriber", a), attach("", b)]
    emit(JOINED)
    for subscription in subscriptions:
        detach(subscription)
    failed = SubscriberFailed.name
    assert heard == {"a": [JOINED.name, failed, failed], "b": [failed, JOINED.name]}
    assert failures()["functools.partial"] >= 5


def test_a_report_goes_only_to_those_whom_it_concerns() -> None:
    """A subscriber to messages does not hear of failed subscribers."""
    subscription = attach("", lambda _: 1 / 0)  # type: ignore[arg-type]
    with capture("hardening.consumer") as events:
        emit(JOINED)
    detach(subscription)
    assert events == [JOINED]


def test_what_ends_the_process_is_not_swallowed() -> None:
    """Ctrl-C while a subscriber runs still ends the program."""

    def interrupted(event: Event) -> None:
        raise KeyboardInterrupt(event.name)

    subscription = attach("", interrupted)
    with pytest.raises(KeyboardInterrupt):
        emit(JOINED)
    assert detach(subscription)


def test_capturing_ends_with_its_block() -> None:
    """Also when the block ends badly."""

    def fail() -> None:
        with capture() as events:
            collected.append(events)
            emit(JOINED)
            raise LookupError

    collected: list[list[Event]] = []
    with pytest.raises(LookupError):
        fail()
    emit(RELEASED)
    assert collected == [[JOINED]]


def test_threads_may_attach_and_detach_while_others_emit() -> None:
    """Nothing is lost by those who stay, and nobody stays who left."""
    start = threading.Barrier(5)

    def come_and_go() -> None:
        start.wait(10)
        for _ in range(300):
            assert detach(attach("", lambda _: None))

    def talk() -> None:
        start.wait(10)
        for _ in range(300):
            emit(JOINED)

    threads = [threading.Thread(target=target) for target in (come_and_go, come_and_go, talk, talk)]
    before = telemetry._BUS._subscriptions
    with capture() as events:
        for thread in threads:
            thread.start()
        start.wait(10)
        for thread in threads:
            thread.join(30)
    assert events == [JOINED] * 600
    assert telemetry._BUS._subscriptions == before


def test_a_child_forked_while_another_thread_attaches_can_still_attach() -> None:
    """The lock it inherits may be held by a thread that it does not have."""
    bus = telemetry._Bus()
    with bus._lock:
        assert forked(lambda: bus.detach(bus.attach("", print)), 10) == 0


@pytest.mark.parametrize(
    ("event", "level", "line"),
    [
        (JOINED, logging.INFO, "consumer.joined consumer=host:1:abc"),
        (ConsumerReaped(consumer="c", held=3), logging.WARNING, "consumer.reaped consumer=c held=3"),
        (
            BURIED,
            logging.WARNING,
            r"message.buried message=m1 task=t.add queue=celery reason=crashed error='exit 9\nbang' entry=''",
        ),
        (
            LeaseRenewFailed(consumer="c", error=""),
            logging.WARNING,
            "lease.renew_failed consumer=c error=''",
        ),
        (
            SettingOverridden(setting="acks_late", value=True, why="100% %s"),
            logging.WARNING,
            "setting.overridden setting=acks_late value=True why='100% %s'",
        ),
        (
            SubscriberFailed(subscriber="s", event="e", error="x"),
            logging.WARNING,
            "subscriber.failed subscriber=s event=e error=x",
        ),
        (
            outage.SpoolFailed(error="disk"),
            logging.WARNING,
            "spool.failed error=disk",
        ),
        (
            MessageReleased(queue="celery\x06\x163", why="shutdown"),
            logging.INFO,
            r"message.released queue='celery\x06\x163' why=shutdown",
        ),
    ],
)
def test_logs_are_just_a_subscriber(event: Event, level: int, line: str, caplog: pytest.LogCaptureFixture) -> None:
    """One event, one line, whatever is in it."""
    subscription = log_events()
    with caplog.at_level(logging.INFO, "hardening"):
        emit(event)
    detach(subscription)
    emit(event)
    assert caplog.record_tuples == [("hardening", level, f"hardening.{line}")]


def test_logging_takes_a_prefix_and_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    """What is logged, and where to, is the app's choice."""
    subscription = log_events("hardening.message", logging.getLogger("app.queue"))
    with caplog.at_level(logging.INFO, "app.queue"):
        emit(JOINED)
        emit(RELEASED)
    detach(subscription)
    line = "hardening.message.released queue=celery why=shutdown"
    assert caplog.record_tuples == [("app.queue", logging.INFO, line)]


def test_a_line_that_nobody_reads_is_not_written() -> None:
    """A level that is switched off costs no formatting."""

    class Unprintable:
        def __str__(self) -> str:
            raise AssertionError("formatted in vain")

    logger = logging.Logger("quiet", logging.ERROR)  # noqa: LOG001 - not one of the app's
    subscription = log_events("", logger)
    emit(SettingOverridden(setting="s", value=Unprintable(), why="w"))
    detach(subscription)
    assert not subscription.has_failed
