"""Making, renewing, ending and listing subscriptions."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from hardening.agents.router.errors import SubscribeFailed, SubscriberGone
from hardening.agents.router.events import SignalSubscribed, SignalUnsubscribed
from hardening.agents.router.pattern import pattern_words
from hardening.agents.router.subscriber import subscriber_of
from hardening.agents.router.subscription import Record, Subscription
from hardening.core import telemetry
from hardening.core.deployment import client_of, settings_of
from hardening.core.scripts import signalling
from hardening.delivery.attempts import TRANSIENT
from hardening.delivery.outgoing import owner_of
from hardening.delivery.recipients import Recipient

if TYPE_CHECKING:
    from celery import Celery

    from hardening.agents.router.subscriber import AnySubscriber

__all__ = ["grace_ms", "subscribe", "subscriptions", "unsubscribe"]

_YEAR_S = 31_536_000.0


def subscribe(
    pattern: str,
    subscriber: AnySubscriber,
    *,
    handler: str = "",
    queue: str = "",
    tied_to: Recipient | None = None,
    ttl: float | timedelta | None = None,
    durable: bool = False,
    app: Celery | None = None,
) -> Subscription:
    """Has somebody told of signals, from this moment on: of every signal that is emitted after this has returned.

    The task, or the agent's handler, is called with the signal's name and its payload. Each subscriber is told once of
    a signal, however many of its subscriptions match. The same pattern for the same subscriber is the same
    subscription: subscribing again renews it, and may change how long it lives.

    An agent's subscription ends when the agent is stopped or unknown. That of a task needs an end to be named: a
    worker's or an agent's (``tied_to``), a time (``ttl``), or none at all (``durable``).

    Args:
        pattern: of the signals' names, see :mod:`~hardening.agents.router.pattern`.
        subscriber: an agent, a task, its name, or a signature, whose own arguments come first.
        handler: of an agent, default ``on_signal``.
        queue: where a task waits; default: where this app's routes lead.
        tied_to: a worker, by its node name, or an agent; the subscription ends when that does. A worker is that one
            process, and not one that is started under its name later.
        ttl: ends so long after it was made or last renewed, in seconds or a ``timedelta``.
        durable: it lives until somebody ends it.
        app: default: the task's, or the current one.

    Raises:
        SubscriberGone: what it is tied to is not there.
        SubscribeFailed: Redis is away, or full. Whether it took it, nobody may know: subscribing again is safe.
        ConfigError: the app is not hardened.
        ValueError: an argument that makes no sense.
        TypeError: likewise, of another type.
    """
    pattern_words(pattern)
    owner, who = subscriber_of(subscriber, app, handler=handler, queue=queue)
    ttl_ms = _ms(ttl)
    if tied_to is None and who.agent:
        tied_to = Recipient("agent", who.agent, who.queue)
    _check_end(tied_to, ttl_ms, durable=durable, is_agent=bool(who.agent))
    record, keys = Record(pattern=pattern, to=who, ttl_ms=ttl_ms), settings_of(owner).keys
    about = json.dumps(record.model_dump(exclude_defaults=True), sort_keys=True)
    call = signalling.subscribe(keys, record.id, _tie(tied_to), ttl_ms=ttl_ms, grace_ms=grace_ms(owner), about=about)
    try:
        name, answer = call.run(client_of(owner))
    except (RedisError, *TRANSIENT) as error:
        raise SubscribeFailed.of(pattern, error) from error
    if not name:
        raise SubscriberGone(pattern, str(tied_to), answer.decode())
    if answer:
        telemetry.emit(SignalSubscribed(subscription=name.decode(), pattern=pattern, subscriber=str(who)))
    ttl_s = ttl_ms / 1000 if ttl_ms else None
    return Subscription(name.decode(), pattern, who, _tied(tied_to, name.decode()), ttl_s, ttl_s)


def unsubscribe(subscription: Subscription | str, *, app: Celery | None = None) -> bool:
    """Ends a subscription. A signal that is emitted after this has returned is not told of by it.

    Args:
        subscription: or its id.
        app: default: the current one.

    Returns:
        Whether there was one.

    Raises:
        redis.RedisError: Redis could not be asked.
        ConfigError: the app is not hardened.
    """
    name, owner = subscription if isinstance(subscription, str) else subscription.id, owner_of("", app)
    was_there = bool(signalling.unsubscribe(settings_of(owner).keys, [name]).run(client_of(owner)))
    if was_there:
        telemetry.emit(SignalUnsubscribed(subscriber=name, reason="asked"))
    return was_there


def subscriptions(app: Celery | None = None) -> list[Subscription]:
    """All subscriptions, also such as are over and have not been removed yet, by pattern and subscriber.

    Raises:
        redis.RedisError: Redis could not be asked.
        ConfigError: the app is not hardened.
    """
    owner = owner_of("", app)
    reply = signalling.list_subscriptions(settings_of(owner).keys, grace_ms(owner)).run(client_of(owner))
    found = []
    for name, text, left_ms, why in zip(*(iter(reply),) * 4, strict=True):
        parsed = Record.parse(text)
        if parsed is not None:
            tie, record = parsed
            found.append(_listed(name.decode("utf-8", "replace"), tie, record, int(left_ms), why.decode()))
    return sorted(found, key=lambda one: (one.pattern, str(one.subscriber), one.id))


def grace_ms(app: Celery) -> int:
    """How long after its lease ran out a worker is taken for dead where nobody sweeps: for another lease."""
    return settings_of(app).lease_ttl_ms


def _listed(name: str, tie: str, record: Record, left_ms: int, why: str) -> Subscription:
    state: Any = "silent" if why == "worker_silent" else "over" if why else "live"
    left_s = None if left_ms < 0 else left_ms / 1000
    ttl_s = record.ttl_ms / 1000 if record.ttl_ms else None
    return Subscription(name, record.pattern, record.to, tie, ttl_s, left_s, state, why)


def _check_end(tied_to: Recipient | None, ttl_ms: int, *, durable: bool, is_agent: bool) -> None:
    if tied_to is not None and (not isinstance(tied_to, Recipient) or tied_to.kind == "queue"):
        raise TypeError(f"tied_to is {tied_to!r}, expected worker('mail@host1') or agent('inventory')")
    if durable and (tied_to is not None or ttl_ms):
        ends = "an agent's subscription ends with it" if is_agent else "tied_to and ttl name an end"
        raise ValueError(f"durable is for a subscription that nothing ends, but {ends}")
    if not durable and tied_to is None and not ttl_ms:
        raise ValueError(
            "a task's subscription needs an end: tied_to=worker('mail@host1'), ttl=SECONDS, or durable=True if it is "
            "to live until somebody ends it"
        )


def _ms(ttl: float | timedelta | None) -> int:
    if ttl is None:
        return 0
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.001 <= seconds <= _YEAR_S:  # noqa: PLR2004 - one ms
        raise ValueError(f"ttl is {ttl!r}, expected 0.001 to {_YEAR_S:.0f} seconds")
    return int(seconds * 1000)


def _tie(tied_to: Recipient | None) -> str:
    if tied_to is None:
        return ""
    return f"agent:{tied_to.queue}" if tied_to.kind == "agent" else f"node:{tied_to.name}"


def _tied(tied_to: Recipient | None, name: str) -> str:
    """As the script has it: of a worker, its consumer, which is part of the id."""
    if tied_to is None or tied_to.kind == "agent":
        return _tie(tied_to)
    return f"worker:{name.partition('@')[2]}"
