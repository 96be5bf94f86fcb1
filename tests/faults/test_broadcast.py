"""Broadcasts to real workers, which are paused, cut off, frozen, killed and stopped meanwhile."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from hardening import broadcast
from hardening.core.deployment import client_of, settings_of
from hardening.core.errors import BroadcastRefused
from hardening.delivery import worker
from tests.eventually import eventually
from tests.faults.proxy import Proxy
from tests.faults.rig import LEASE_S

if TYPE_CHECKING:
    from celery import Celery

    from hardening import BroadcastResult
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server
WORK = "tests.faults.tasks.work"


def to_all(app: Celery, recipients: list[Any], key: str, **options: Any) -> BroadcastResult:
    """All or nothing."""
    return broadcast(WORK, recipients, (key,), strategy="all_or_nothing", app=app, **options)


def refused(app: Celery, recipients: list[Any]) -> list[str]:
    """Who cannot have a message; empty: all of them got it."""
    try:
        to_all(app, recipients, "probe")
    except BroadcastRefused as error:
        return [one.recipient.name for one in error.result.refused]
    return []


def said(app: Celery) -> list[set[bytes]]:
    """From which queues each consumer takes, as Redis has it."""
    client: Any = client_of(app)
    prefix = settings_of(app).prefix
    return [client.smembers(key) for key in client.scan_iter(f"{prefix}:consuming:*", count=10_000)]


def test_all_or_nothing_follows_what_workers_take_from(rig: Rig) -> None:
    """Through a pause by remote control, a cut connection, a freeze that costs the lease, and a stop."""
    producer = rig.producer()
    left, right = f"{rig.queue}.left", f"{rig.queue}.right"
    with Proxy(rig.broker) as proxy:
        first = rig.start("threads", 2, queues=[left], faults_direct="1")
        second = rig.start("solo", 1, queues=[left, right], broker=proxy.url)
        for one in (first, second):
            rig.ready(one)
        name = f"{rig.prefix}-0@test"
        both: list[Any] = [right, worker(name)]

        eventually(lambda: refused(producer, both) == [])
        done = to_all(producer, both, "k1", confirm="acked", timeout=20)
        assert done.ok
        assert [receipt.history()[-1].state for receipt in done.receipts] == ["acked", "acked"]
        best = broadcast(WORK, [worker(f"{rig.prefix}-1@test"), right], ("k2",), app=producer)
        assert [one.status for one in best] == ["refused", "confirmed"]
        assert "worker_direct = True" in str(best.failed[0].error)

        producer.control.cancel_consumer(right, destination=[f"{rig.prefix}-1@test"])
        eventually(lambda: refused(producer, both) == [right])
        published = rig.read().counters["published"]
        assert rig.stays(lambda: refused(producer, both) == [right], 1.2)
        assert rig.read().counters["published"] == published
        producer.control.add_consumer(right, destination=[f"{rig.prefix}-1@test"])
        eventually(lambda: refused(producer, both) == [])

        proxy.cut()
        assert to_all(producer, [left, right], "k3", confirm="acked", timeout=20).ok

        second.send(signal.SIGSTOP)
        eventually(lambda: refused(producer, both) == [right], LEASE_S + 8)
        second.send(signal.SIGCONT)
        eventually(lambda: refused(producer, both) == [])

        rig.settled()
        assert len(said(producer)) == 2
        second.stop()
        assert refused(producer, both) == [right]
        first.stop()
        assert said(producer) == []
    producer.close()


def test_a_killed_recipient_is_reported_with_what_can_still_happen(rig: Rig) -> None:
    """While it dies, each broadcast is published to both queues or to none; what was published runs when it is back."""
    producer = rig.producer()
    left, right = f"{rig.queue}.left", f"{rig.queue}.right"
    rig.ready(rig.start("threads", 2, queues=[left]))
    victim = rig.ready(rig.start("threads", 2, queues=[right]))
    eventually(lambda: refused(producer, [left, right]) == [])
    probes = rig.count("began")["probe"]
    published: list[str] = []
    refusals: list[tuple[str, list[str]]] = []
    killing = threading.Timer(0.3, rig.kill, (victim,))
    killing.start()
    late: BroadcastResult | None = None
    for number in range(100_000):
        key = f"k{number}"
        try:
            result = to_all(producer, [left, right], key, confirm="started", timeout=0.5)
        except BroadcastRefused as error:
            refusals.append((key, [one.recipient.name for one in error.result.refused]))
            break
        published.append(key)
        late = result if result.failed else late
    killing.join(10)
    assert [names for _, names in refusals] == [[right]]  # its lease has run out
    assert late is not None  # and before that nobody could know
    assert late[left].status == "confirmed"
    assert late[right].status == "late"
    assert late[right].prospect.startswith(("queued: it runs when a consumer takes it", "claimed: "))
    with pytest.raises(Exception, match=rf"queue {right} is late"):
        late.raise_for_failures()

    rig.ready(rig.start("threads", 2, queues=[right]))
    eventually(lambda: sum(rig.count("done")[key] >= 2 for key in published) == len(published), 30)
    rig.settled()
    began = rig.count("began")
    assert refusals[0][0] not in began
    assert sum(began[key] - 2 for key in published) <= victim.concurrency
    assert probes <= began["probe"]
    assert late[right].receipt.status() == "acked"
    producer.close()
