"""The result of a broadcast: what makes it a success, what it says of each recipient, and what its errors say."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from hardening.core.errors import BroadcastFailed, BroadcastRefused, ConfirmTimeout, MessageDied, RecipientRefused
from hardening.delivery import BroadcastResult, DeliveryStatus, Outcome, OutcomeStatus, Receipt, agent, queue
from hardening.delivery.broadcast_result import STRATEGIES

APP = Celery("app", set_as_current=False)
CONFIRMED, PENDING, LATE = OutcomeStatus.CONFIRMED, OutcomeStatus.PENDING, OutcomeStatus.LATE


def outcome(number: int, status: OutcomeStatus, **more: Any) -> Outcome:
    """What became of ``q<number>``."""
    return Outcome(queue(f"q{number}"), status, Receipt(f"r{number}", APP), **more)


def result(*outcomes: Outcome, strategy: Any = "best_effort") -> BroadcastResult:
    """A result."""
    return BroadcastResult("t", strategy, "acked", outcomes)


@given(st.lists(st.sampled_from(list(OutcomeStatus)), min_size=1, max_size=6), st.sampled_from(STRATEGIES))
def test_a_success_is_what_the_strategy_asks_for(statuses: list[OutcomeStatus], strategy: Any) -> None:
    """One that is confirmed, or all; only what nobody waited for is neither confirmed nor failed."""
    told = result(*(outcome(number, status) for number, status in enumerate(statuses)), strategy=strategy)
    some, every = CONFIRMED in statuses, set(statuses) == {CONFIRMED}
    assert told.ok == (some if strategy == "at_least_one" else every)
    assert [one.status for one in told] == statuses
    assert [one.status for one in told.confirmed] == [CONFIRMED] * statuses.count(CONFIRMED)
    assert {one.status for one in told.failed} == set(statuses) - {CONFIRMED, PENDING}
    assert [one.id for one in told.receipts] == [f"r{number}" for number in range(len(statuses))]
    assert len(told) == len(statuses)
    if told.ok:
        told.raise_for_failures()
    else:
        with pytest.raises(BroadcastFailed) as raised:
            told.raise_for_failures()
        assert raised.value.result is told


def test_an_outcome_is_found_by_its_recipient() -> None:
    """However it was named, if it leads to the same queue."""
    told = result(outcome(1, CONFIRMED), Outcome(agent("a"), LATE, Receipt("r2", APP)))
    assert told["q1"] is told[queue("q1")] is told.outcomes[0]
    assert told[agent("a")] is told["agent.a"] is told.outcomes[1]
    with pytest.raises(KeyError, match="queue q3"):
        told["q3"]


@pytest.mark.parametrize("state", list(DeliveryStatus))
def test_each_state_has_a_prospect(state: DeliveryStatus) -> None:
    """A sentence that begins with where the message was last seen."""
    assert outcome(1, LATE, state=state).prospect.startswith(f"{state}: ")


@pytest.mark.parametrize("reason", ["cancelled", "purged"])
def test_what_is_dead_for_good_does_not_come_back(reason: str) -> None:
    """There is no dead letter of it; of what failed, there may be."""
    died = outcome(1, OutcomeStatus.DEAD, state=DeliveryStatus.DEAD, error=MessageDied("r1", reason))
    assert died.prospect == f"{reason}: it will not run"
    failed = outcome(1, OutcomeStatus.DEAD, state=DeliveryStatus.DEAD, error=MessageDied("r1", "failed"))
    assert failed.prospect == ("dead: if it is kept, it stays in the dead-letter queue until it is replayed or trimmed")


@pytest.mark.parametrize("status", [OutcomeStatus.REFUSED, OutcomeStatus.WITHHELD, OutcomeStatus.UNSENT])
def test_what_nothing_has_may_be_sent_again(status: OutcomeStatus) -> None:
    """But not where nobody knows whether it was published."""
    assert outcome(1, status).is_nowhere
    assert outcome(1, status).prospect == "it may be sent again, for nothing has it"
    unsure = outcome(1, status, is_uncertain=True)
    assert not unsure.is_nowhere
    assert unsure.prospect.startswith("it may have been published, for the answer was lost")
    assert not outcome(1, LATE).is_nowhere


def test_a_failed_broadcast_names_its_first_failures() -> None:
    """Each with why, and with what can still happen; the rest is counted."""
    late = [
        outcome(number, LATE, state=DeliveryStatus.QUEUED, error=ConfirmTimeout(f"r{number}", "acked", "queued", 5.0))
        for number in range(7)
    ]
    lines = str(BroadcastFailed(result(*late, outcome(8, CONFIRMED)))).splitlines()
    assert lines[0] == "the broadcast of t to 8 recipient(s), best_effort, is not acked for 7 of them"
    assert lines[1] == (
        "  - queue q0 is late: message r0 is queued, not acked, after 5 s; it is safe, the receipt follows it; "
        "queued: it runs when a consumer takes it, also one that comes back later"
    )
    assert (len(lines), lines[-1]) == (7, "  - and 2 more")


def test_a_refused_broadcast_names_those_who_cannot_have_it() -> None:
    """Not those who could have had it."""
    why = RecipientRefused("r1", "queue q1", "no_consumer", "nobody takes from it")
    told = result(
        outcome(1, OutcomeStatus.REFUSED, error=why), outcome(2, OutcomeStatus.WITHHELD), strategy="all_or_nothing"
    )
    assert str(BroadcastRefused(told)).splitlines() == [
        "nothing of t was published, for 1 of 2 recipient(s) cannot have it",
        "  - queue q1 cannot have its message: nobody takes from it; it may be sent again, for nothing has it",
    ]
    assert str(outcome(2, OutcomeStatus.WITHHELD)) == "queue q2 is withheld; it may be sent again, for nothing has it"
