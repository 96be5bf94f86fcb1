"""Signals on a full Redis: what is new is refused whole, and what is there goes on or ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import OutOfMemoryError

from tests.integration.signalled import Signals
from tests.integration.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardening.core.embedded import EmbeddedRedis


@pytest.fixture
def signals(small_server: EmbeddedRedis, prefix: str) -> Iterator[Signals]:
    """A deployment on it with a subscription of each kind, and a full mailbox that would lose its oldest."""
    with small_server.client() as client:
        signals = Signals(Stage(client, prefix))
        signals.stage.join("w")
        signals.subscribe("plain")
        signals.subscribe("short", ttl_ms=30_000)
        signals.subscribe("tied", "node:w")
        signals.mailbox("a", bound=1, when_full="drop_oldest")
        signals.emit(1, signals.to_agent("x", "a"))
        yield signals
        client.config_set("maxmemory", "256mb")


def fill(stage: Stage) -> dict[bytes, bytes]:
    """From now on every byte is too much, and no script is cached. What there is."""
    stage.client.script_flush()
    stage.client.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        stage.client.set(f"{stage.prefix}.more", "x")
    return everything(stage)


def everything(stage: Stage) -> dict[bytes, bytes]:
    """All that is there."""
    return {key: stage.client.dump(key) for key in stage.client.scan_iter(f"*{stage.prefix}*", count=10_000)}


def test_a_signal_is_refused_whole(signals: Signals) -> None:
    """Also where a subscription is over, and where a mailbox could lose its oldest."""
    stage = signals.stage
    stage.client.zadd(stage.keys.signal_expiring, {"short": 1})
    before = fill(stage)
    for copy in (signals.copy("y", conditions=[("short", "")]), signals.to_agent("z", "a")):
        with pytest.raises(OutOfMemoryError):
            signals.emit(2, copy)
    assert everything(stage) == before


def test_a_new_or_changed_subscription_is_refused_whole(signals: Signals) -> None:
    """Its version stays."""
    before = fill(signals.stage)
    for name, tie, about in (("new", "", "{}"), ("plain", "", '{"x": 1}'), ("other", "node:w", "{}")):
        with pytest.raises(OutOfMemoryError):
            signals.subscribe(name, tie, ttl_ms=60_000, about=about)
    assert everything(signals.stage) == before


def test_a_subscription_is_renewed(signals: Signals) -> None:
    """Or it would end because Redis is full."""
    stage = signals.stage
    fill(stage)
    assert signals.subscribe("short", ttl_ms=60_000) == ["short", 0]
    assert stage.client.zscore(stage.keys.signal_expiring, "short") > stage.now_ms() + 40_000


def test_a_subscription_is_ended(signals: Signals) -> None:
    """And those that know it are told."""
    fill(signals.stage)
    version = signals.version
    assert signals.unsubscribe("plain", "tied@w") == 2
    assert signals.read(version)[2] == {"plain": "", "tied@w": ""}
