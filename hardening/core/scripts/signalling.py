"""What signals ask of Redis, one typed function for each script. Times are in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hardening.core.scripts.script import Call, Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hardening.core.keys import Keys
    from hardening.core.scripts.calls import Scope

__all__ = ["Copy", "Number", "emit", "list_subscriptions", "read_subscriptions", "subscribe", "unsubscribe"]


class Number(NamedTuple):
    """By which a signal is known, when it is emitted again because the answer was lost.

    Attributes:
        emitter: who emits one signal after the other.
        number: of this one, counted from 1.
    """

    emitter: str
    number: int


class Copy(NamedTuple):
    """The message of one recipient.

    Attributes:
        list_key: the list it goes to.
        queue: whose list that is.
        raw: the raw message.
        conditions: id and tie of each of its subscriptions, where all of them may end; empty: one cannot.
    """

    list_key: str
    queue: str
    raw: bytes
    conditions: Sequence[tuple[str, str]] = ()


def emit(
    scope: Scope,
    number: Number,
    copies: Iterable[Copy],
    *,
    version: str,
    grace_ms: int,
    is_first: bool = True,
    took: tuple[str, int] = ("", 0),
) -> Call:
    """Publishes copies of a signal. Reply: 0: other subscriptions; or how many, then place and reason of drops.

    ``took`` is how long an earlier signal took: the bucket, and in us.
    """
    listed = list(copies)
    keys = scope.keys
    head = (keys.prefix, scope.receipt_ttl_ms, scope.worker, version, number.number, grace_ms, int(is_first), *took)
    parts: list[str | bytes | int] = []
    for one in listed:
        parts += (one.queue, one.raw, len(one.conditions))
        for condition in one.conditions:
            parts += condition
    lists = [one.list_key for one in listed]
    fixed = (keys.signal_emitter(number.emitter), keys.queues, keys.signal_changes, keys.signal_stats)
    return Call(_EMIT, (*fixed, *lists), (*head, *parts))


def subscribe(keys: Keys, subscription: str, tie: str, *, ttl_ms: int, grace_ms: int, about: str) -> Call:
    """Makes or renews a subscription. Reply: its id, and 1 when it is new; or nothing, and why."""
    fixed = (keys.signal_subscriptions, keys.signal_expiring, keys.nodes)
    return Call(_SUBSCRIBE, fixed, (keys.prefix, subscription, tie, ttl_ms, grace_ms, about))


def unsubscribe(keys: Keys, subscriptions: Iterable[str]) -> Call:
    """Ends subscriptions. Reply: how many there were."""
    return Call(_UNSUBSCRIBE, (keys.signal_subscriptions,), (keys.prefix, *subscriptions))


def read_subscriptions(keys: Keys, version: str) -> Call:
    """Reads what changed. Reply: since which version, the version now, then id and record of each."""
    return Call(_READ, (keys.signal_subscriptions, keys.signal_changes), (version,))


def list_subscriptions(keys: Keys, grace_ms: int) -> Call:
    """Reads all. Reply: id, record, ms left or -1, and why it is over, of each."""
    return Call(_LIST, (keys.signal_subscriptions, keys.signal_expiring), (keys.prefix, grace_ms))


_EMIT = Script.load("emit")
_SUBSCRIBE = Script.load("subscribe")
_UNSUBSCRIBE = Script.load("unsubscribe")
_READ = Script.load("read_subscriptions")
_LIST = Script.load("list_subscriptions")
