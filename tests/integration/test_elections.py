"""Leaders, as processes elect them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hardening.agents.coordination import (
    LeadLost,
    elect_leader,
)
from hardening.core.deployment import client_of, settings_of
from tests.eventually import eventually
from tests.integration.coordinating import Outage, names

if TYPE_CHECKING:
    from celery import Celery

    from hardening.core import telemetry

pytestmark = pytest.mark.one_server


def test_one_of_several_leads_and_the_next_follows_at_once(app: Celery, told: list[telemetry.Event]) -> None:
    """When it resigns; its lease is long."""
    gained: list[int] = []
    lost: list[int] = []
    first = elect_leader("e", candidate="one", ttl=60, on_gained=gained.append, on_lost=lost.append, app=app)
    assert first.wait(10)
    with elect_leader("e", ttl=60, app=app) as second:
        assert not second.wait(0.3)
        assert (second.fence, first.fence, first.must_lead()) == (0, 1, 1)
        with pytest.raises(LeadLost, match=r"does not lead 'e': do nothing") as error:
            second.must_lead()
        assert (error.value.election, error.value.candidate) == ("e", second.candidate)
        first.stop()
        assert not first.is_leader()
        assert second.wait(20)
        assert second.fence == 2
    eventually(lambda: (gained, lost) == ([1], [1]))
    assert not second.is_leader()
    assert names(told) == ["lead.gained", "lead.ended", "lead.gained", "lead.ended"]
    assert first.candidate.startswith("one:")
    assert not second.wait(10)  # it stands no more, so it does not wait
    first.stop()
    assert client_of(app).get(settings_of(app).keys.election("e")) is None


def test_candidates_of_one_name_are_two(app: Celery) -> None:
    """Or both would lead."""
    with elect_leader("e", candidate="x", ttl=60, app=app) as one, elect_leader("e", candidate="x", app=app) as two:
        assert eventually(lambda: one.is_leader() or two.is_leader())
        assert not (one.wait(0.3) and two.wait(0.3))


def test_a_leader_renews(app: Celery) -> None:
    """Under the same number, for longer than its lease."""
    with elect_leader("e", ttl=1.5, app=app) as lead:
        assert lead.wait(10)
        key, client = settings_of(app).keys.election("e"), client_of(app)
        client.pexpire(key, 60_000)
        eventually(lambda: client.pttl(key) <= 1500)
        assert lead.fence == 1


def test_a_leader_that_cannot_renew_knows_when_its_lease_is_over(
    app: Celery, outage: Outage, told: list[telemetry.Event]
) -> None:
    """By its own clock; and it stands again when Redis is back."""
    lost: list[int] = []
    with elect_leader("e", ttl=0.5, on_lost=lost.append, app=app) as lead:
        assert lead.wait(10)
        outage.go()
        eventually(lambda: not lead.is_leader())
        eventually(lambda: lost == [1])
        outage.come_back()
        assert lead.wait(10)
        assert lead.fence > 1
        outage.go()
    assert not lead.is_leader()  # it could not resign; nothing is raised
    assert {"lead.gained", "lead.ended", "lead.not_asked"} == set(names(told))
    whys = [event.why for event in told if hasattr(event, "why")]
    assert (whys[0], whys[-1]) == ("expired", "resigned")


def test_who_is_superseded_is_told(app: Celery, told: list[telemetry.Event]) -> None:
    """Redis says that another leads, though its own clock does not."""
    with elect_leader("e", ttl=0.9, app=app) as lead:
        assert lead.wait(10)
        client_of(app).set(settings_of(app).keys.election("e"), "9 other", px=60_000)
        eventually(lambda: not lead.is_leader())
        eventually(lambda: "lead.ended" in names(told))
    assert told[-1].why == "taken"  # type: ignore[attr-defined]


def test_what_a_callback_raises_harms_nobody(app: Celery, told: list[telemetry.Event]) -> None:
    """It is told; the lead goes on, and so do the next calls."""
    calls: list[int] = []

    def fail(fence: int) -> None:
        calls.append(fence)
        raise ValueError(fence)

    with elect_leader("e", ttl=60, on_gained=fail, on_lost=calls.append, app=app) as lead:
        eventually(lambda: "lead.tell_failed" in names(told))
        assert lead.is_leader()
    eventually(lambda: calls == [1, 1])


async def _await_both(app: Celery) -> None:
    with elect_leader("e", ttl=60, app=app) as one:
        assert await one.await_lead(10)
        with elect_leader("e", ttl=60, app=app) as two:
            assert not await two.await_lead(0.1)
            waits = asyncio.create_task(two.await_lead(20))
            await asyncio.sleep(0)
            await asyncio.to_thread(one.stop)
            assert await waits
            waits = asyncio.create_task(one.await_lead(20))
            await asyncio.sleep(0)
            assert not await waits  # it stands no more


def test_a_coroutine_waits_for_the_lead(app: Celery) -> None:
    """Without a thread of its own."""
    asyncio.run(_await_both(app))
