"""Which steps do not go on as they should, and whether a message can be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from hardening.core.errors import CancelFailed, ConfirmTimeout, ReceiptNotFound
from hardening.delivery.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from workers.census import Census
    from workers.crew import Crew
    from workers.workflow import Open, Workflow

__all__ = ["WAITING", "Doubt", "doubts_in", "others_for", "withdrawn"]

#: Where a message is that no worker has taken.
WAITING = frozenset({"queued", "scheduled"})


class Doubt(NamedTuple):
    """A step that does not go on as it should.

    Attributes:
        one: the attempt.
        kind: ``dead``: its message is, so it will not be done. ``unable``: its agent takes no messages, has not begun
            it, and another could. ``late``: it takes too long.
        why: one line.
    """

    one: Open
    kind: Literal["dead", "unable", "late"]
    why: str


def doubts_in(workflow: Workflow, census: Census, crew: Crew) -> Iterator[Doubt]:
    """The steps of a workflow that do not go on as they should; not those which are being taken back already."""
    late = {(one.step, one.number) for one in workflow.overdue(census.now_s)}
    for one in workflow.open():
        if one.attempt.state != "given" or one.attempt.doubt:
            continue
        state, reason = census.messages.get(one.attempt.receipt, ("", ""))
        unable = census.unable.get(one.attempt.agent)
        if state == "dead":
            yield Doubt(one, "dead", f"its message died ({reason}), see celery dlq")
        elif unable and state in WAITING and others_for(workflow, one.step, census, crew):
            yield Doubt(one, "unable", f"agent {one.attempt.agent} is {unable}")
        elif (one.step, one.number) in late:
            yield Doubt(one, "late", f"not done within {workflow.spec.steps[one.step].stall_after_s:g} s")


def others_for(workflow: Workflow, step: str, census: Census, crew: Crew) -> set[str]:
    """Agents that could do a step now and do not have it."""
    busy = {one.attempt.agent for one in workflow.open() if one.step == step}
    return {name for name in crew.capable(workflow.spec.steps[step].do) if name not in census.unable} - busy


def withdrawn(app: Celery, receipt: str, *, timeout_s: float = 0.5) -> bool:
    """Takes back a message, if nobody has begun it: then it will never run. False: nobody knows, or it runs.

    Args:
        app: over whose broker.
        receipt: of the message.
        timeout_s: how long a worker that has taken it may take to give it up, in seconds.
    """
    try:
        return bool(Receipt(receipt, app).cancel(timeout=timeout_s))
    except (CancelFailed, ConfirmTimeout, ReceiptNotFound):
        return False
