"""Keys: every one of them, and whose they are."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.redis import Channel

from hardening.core import keys as keys_module
from hardening.core.keys import PRIORITY_SEPARATOR, Keys, queue_of

ALL = {
    "{p}:inflight:{consumer}": Keys("p").inflight("c"),
    "{p}:started:{consumer}": Keys("p").started("c"),
    "{p}:consuming:{consumer}": Keys("p").consuming("c"),
    "{p}:leases": Keys("p").leases,
    "{p}:dead": Keys("p").dead,
    "{p}:members": Keys("p").members,
    "{p}:seq": Keys("p").seq,
    "{p}:queues": Keys("p").queues,
    "{p}:bell:{queue}": Keys("p").bell("q"),
    "{p}:scheduled": Keys("p").scheduled,
    "{p}:scheduled:messages": Keys("p").scheduled_messages,
    "{p}:crashes": Keys("p").crashes,
    "{p}:delivery:{receipt}": Keys("p").delivery("r"),
    "{p}:changes:{receipt}": Keys("p").changes("r"),
    "{p}:group:{group}": Keys("p").group("g"),
    "{p}:cancelling": Keys("p").cancelling,
    "{p}:idempotency:{digest}": Keys("p").idempotency("d"),
    "{p}:flushing:{spool}": Keys("p").flushing("s"),
    "{p}:dlq": Keys("p").dlq,
    "{p}:dlq:groups": Keys("p").dlq_groups,
    "{p}:dlq:group:{group}": Keys("p").dlq_group("g"),
    "{p}:dlq:queues": Keys("p").dlq_queues,
    "{p}:dlq:retry": Keys("p").dlq_retry,
    "{p}:dlq:planned": Keys("p").dlq_planned,
    "{p}:dlq:turn": Keys("p").dlq_turn,
    "{p}:owners": Keys("p").owners,
    "{p}:monitors:{owner}": Keys("p").monitors("o"),
    "{p}:monitored:{target}": Keys("p").monitored("t"),
    "{p}:monitor:since": Keys("p").monitor_since,
    "{p}:monitor:due": Keys("p").monitor_due,
    "{p}:monitor:leaked": Keys("p").monitor_leaked,
    "{p}:monitor:queues": Keys("p").monitor_queues,
    "{p}:monitor:gone": Keys("p").monitor_gone,
    "{p}:monitor:downs:{owner}": Keys("p").monitor_downs("o"),
    "{p}:monitor:bell": Keys("p").monitor_bell(),
    "{p}:monitor:bell:{owner}": Keys("p").monitor_bell("o"),
    "{p}:monitor:notices": Keys("p").monitor_notices,
    "{p}:monitor:owed": Keys("p").monitor_owed,
    "{p}:monitor:turn": Keys("p").monitor_turn,
    "{p}:nodes": Keys("p").nodes,
    "{p}:counters": Keys("p").counters,
    "{p}:breaker:{breaker}": Keys("p").breaker("b"),
    "{p}:breaker:{breaker}:probes": Keys("p").breaker_probes("b"),
    "{p}:breakers": Keys("p").breakers,
    "{p}:timeouts": Keys("p").timeouts,
    "{p}:timeouts:changes": Keys("p").timeout_changes,
    "{p}:beat:leader": Keys("p").beat_leader,
    "{p}:beat:fence": Keys("p").beat_fence,
    "{p}:beat:ticks": Keys("p").beat_ticks,
    "{p}:beat:names": Keys("p").beat_names,
    "{p}:beat:due": Keys("p").beat_due,
    "{p}:beat:entry:{entry}": Keys("p").beat_entry("e"),
    "{p}:beat:history:{entry}": Keys("p").beat_history("e"),
    "{p}:beat:declared": Keys("p").beat_declared,
    "{p}:beat:owner:{owner}": Keys("p").beat_owner("o"),
    "{p}:beat:bell": Keys("p").beat_bell,
    "{p}:beat:vacancy": Keys("p").beat_vacancy,
    "{p}:fence": Keys("p").fence,
    "{p}:election:{election}": Keys("p").election("e"),
    "{p}:vacancy:{election}": Keys("p").vacancy("e"),
    "{p}:barrier:at:{barrier}": Keys("p").barrier("b"),
    "{p}:barrier:parties:{n}:{b}": Keys("p").barrier_parties(1, "b"),
    "{p}:barrier:over:{n}:{b}": Keys("p").barrier_over(1, "b"),
    "{p}:granted:{lot}": Keys("p").granted("l"),
    "{p}:grants:{lot}": Keys("p").grants("l"),
    "{p}:waiters:{lot}": Keys("p").waiters("l"),
    "{p}:waiting:{lot}": Keys("p").waiting("l"),
    "{p}:grant:bell:{grant}": Keys("p").grant_bell("g"),
    "{p}:mailbox:{queue}": Keys("p").mailbox("q"),
    "{p}:mailbox:{queue}:room": Keys("p").mailbox_room("q"),
    "{p}:agents": Keys("p").agents,
    "{p}:agent:{agent}": Keys("p").agent("a"),
    "{p}:agent:{agent}:journal": Keys("p").journal("a"),
    "{p}:agent:{agent}:restarts": Keys("p").restarts("a"),
    "{p}:reply:{ask}": Keys("p").reply("k"),
    "{p}:signal:subscriptions": Keys("p").signal_subscriptions,
    "{p}:signal:expiring": Keys("p").signal_expiring,
    "{p}:signal:changes": Keys("p").signal_changes,
    "{p}:signal:stats": Keys("p").signal_stats,
    "{p}:signal:emitter:{emitter}": Keys("p").signal_emitter("m"),
}


def test_keys_are_named_as_documented() -> None:
    """The table at the head of the module is complete and right."""
    documented = [line.split()[0] for line in str(keys_module.__doc__).splitlines() if line.strip().startswith("{p}")]
    assert documented == list(ALL)
    values = {
        "p": "p",
        "consumer": "c",
        "queue": "q",
        "receipt": "r",
        "spool": "s",
        "group": "g",
        "digest": "d",
        "breaker": "b",
        "owner": "o",
        "target": "t",
        "entry": "e",
        "election": "e",
        "barrier": "b",
        "n": 1,
        "b": "b",
        "lot": "l",
        "grant": "g",
        "agent": "a",
        "ask": "k",
        "emitter": "m",
    }
    assert [name.format_map(values) for name in ALL] == list(ALL.values())


def test_no_key_is_another() -> None:
    """Nor is a property of the class missing in the table."""
    assert len(set(ALL.values())) == len(ALL)
    public = [name for name in dir(Keys) if not name.startswith("_") and name != "prefix"]
    assert len(public) == len(ALL) - 1  # monitor_bell is two


@pytest.mark.parametrize("key", ALL.values(), ids=ALL.keys())
def test_every_key_begins_with_the_prefix(key: str) -> None:
    """So that two apps with different prefixes never meet."""
    assert key.startswith("p:")


def test_the_default_prefix_is_that_of_the_settings() -> None:
    """One word in two places."""
    assert Keys() == Keys("hardening")


def test_keys_do_not_change() -> None:
    """They are shared by everything that belongs to a deployment."""
    with pytest.raises(FrozenInstanceError):
        Keys("p").prefix = "q"  # type: ignore[misc]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x06\x16")), st.sampled_from([0, 3, 6, 9]))
def test_the_queue_of_a_list_is_found(queue: str, step: int) -> None:
    """Whatever its name, if it has no separator in it."""
    assert queue_of(f"{queue}{PRIORITY_SEPARATOR}{step}" if step else queue) == queue


def test_the_separator_is_kombus() -> None:
    """Stock Celery shares the lists."""
    assert Channel.sep == PRIORITY_SEPARATOR
