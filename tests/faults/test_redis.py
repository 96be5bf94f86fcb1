"""Redis itself goes away, or is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import OutOfMemoryError

from hardening.core.errors import PublishFailed
from hardening.delivery import supervised_send
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.core.embedded import EmbeddedRedis
    from tests.faults.rig import Rig


def test_nothing_is_lost_or_repeated_when_redis_restarts(
    lasting_broker: EmbeddedRedis, rig_for: Callable[..., Rig]
) -> None:
    """Killed and restarted from its append-only file under load; tasks run on meanwhile and are acked after."""
    broker, rig = lasting_broker, rig_for(lasting_broker.broker_url)
    keys = [f"k{number}" for number in range(120)]
    producer = rig.producer()
    rig.send(producer, "work", keys, 0.05)
    for pool in ("prefork", "threads"):
        rig.ready(rig.start(pool, 2))
    rig.await_progress(20)
    broker.kill()
    broker.restart()
    rig.await_done(keys, 60)
    assert rig.duplicates() == 0
    assert rig.settled(20).counters["acked"] == len(keys)
    producer.close()


def test_a_full_redis_refuses_senders_and_goes_on_serving_workers(
    lasting_broker: EmbeddedRedis, rig_for: Callable[..., Rig]
) -> None:
    """At maxmemory publishing fails at once and clearly, while workers take, begin and ack all there is."""
    broker, rig = lasting_broker, rig_for(lasting_broker.broker_url)
    keys = [f"k{number}" for number in range(100)]
    producer = rig.producer()
    rig.send(producer, "work", keys, 0.01)
    client = broker.client()
    client.config_set("maxmemory", "1")
    with pytest.raises(PublishFailed, match="OutOfMemory"):
        supervised_send("tests.faults.tasks.work", ("late",), app=producer)
    with pytest.raises(OutOfMemoryError):
        client.set("any", "thing")
    rig.ready(rig.start("prefork", 2))
    rig.await_done(keys, 40)
    assert rig.duplicates() == 0
    assert rig.settled().counters["acked"] == len(keys)
    client.config_set("maxmemory", "0")
    supervised_send("tests.faults.tasks.work", ("late",), app=producer)
    eventually(lambda: rig.count("done")["late"] == 1, 15)
    client.close()
    producer.close()
