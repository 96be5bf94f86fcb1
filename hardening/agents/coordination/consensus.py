"""Agents vote on a proposal.

Each participant is asked for its vote, all at once, by its own handler ``on_vote(proposal) -> bool``. The outcome is
certain, and returned, as soon as no vote that is still out can change it. The rules are in
:mod:`hardening.agents.coordination.voting`.

Does not guarantee: what Paxos or Raft do. Whoever calls counts the votes, and alone knows the outcome unless it is
announced: should it die between, nobody else decides. Two callers may hold two votes on the same proposal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardening.agents.coordination.answers import answers, asked
from hardening.agents.coordination.bench import bench_of
from hardening.agents.coordination.names import checked_s
from hardening.agents.coordination.voting import Ballot, Rule, Vote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from celery import Celery

    from hardening.agents.coordination.answers import Answer
    from hardening.agents.coordination.bench import Bench
    from hardening.delivery import BroadcastResult

__all__ = ["Decision", "consensus"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of a vote. True if the proposal is accepted.

    Attributes:
        proposal: as it was put to the vote.
        rule: by which it was decided.
        is_accepted: the outcome.
        votes: of each participant; ``pending``: it was certain without it.
        reasons: of those who abstained: why.
        announcement: what became of telling them; None: that was not asked for.
    """

    proposal: Any
    rule: Rule
    is_accepted: bool
    votes: Mapping[str, Vote]
    reasons: Mapping[str, str]
    announcement: BroadcastResult | None = None

    def __bool__(self) -> bool:
        return self.is_accepted

    def who(self, vote: Vote) -> tuple[str, ...]:
        """Those who voted so."""
        return tuple(name for name, its in self.votes.items() if its is vote)


def consensus(
    participants: Iterable[str],
    proposal: Any,
    rule: Rule = "majority",
    timeout: float = 5.0,
    *,
    quorum: int | None = None,
    weights: Mapping[str, float] | None = None,
    announce: bool = False,
    announce_timeout: float = 5.0,
    bench: Bench | None = None,
    app: Celery | None = None,
) -> Decision:
    """Has agents vote on a proposal.

    Args:
        participants: their names, at most 256. Each has a handler ``on_vote``.
        proposal: what is put to the vote, JSON.
        rule: ``majority``, ``unanimous``, ``quorum`` or ``weighted``.
        timeout: how long a vote may take, in seconds; who has not voted then has abstained.
        quorum: for that rule: how many must say yes or no; default: more than half.
        weights: for ``weighted``: of each participant.
        announce: whether all participants are told the outcome, by ``on_decision(proposal, is_accepted)``: in one
            script, if all of them have a living worker, or else none; see ``broadcast(strategy="all_or_nothing")``.
        announce_timeout: how long that may take, in seconds.
        bench: how agents are reached; default: as those of the app.
        app: a hardened app; default: the current one.

    Raises:
        ConfigError: the app is not hardened.
        ValueError: an argument that makes no sense.
        TypeError: the proposal is not JSON.
    """
    names = asked(participants, "participants")
    ballot = Ballot(names, rule, quorum=quorum, weights=weights)
    timeout_s = checked_s(timeout, "timeout")
    reached = bench or bench_of(app)
    votes: dict[str, Vote] = {}
    reasons: dict[str, str] = {}
    for answer in answers(reached, names, "on_vote", (proposal,), timeout_s):
        votes[answer.agent] = _vote(answer, reasons)
        if ballot.verdict(votes) is not None:
            break
    else:
        for name in names:
            if name not in votes:
                votes[name], reasons[name] = Vote.ABSTAINED, f"it did not vote within {timeout_s:g} s"
    is_accepted = bool(ballot.verdict(votes))
    listed = {name: votes.get(name, Vote.PENDING) for name in names}
    told = reached.announce(names, "on_decision", (proposal, is_accepted), announce_timeout) if announce else None
    return Decision(proposal, rule, is_accepted, listed, reasons, told)


def _vote(answer: Answer, reasons: dict[str, str]) -> Vote:
    if answer.error:
        reasons[answer.agent] = answer.error
    elif not isinstance(answer.value, bool):
        reasons[answer.agent] = f"it answered {str(answer.value)[:50]!r}, which is neither true nor false"
    else:
        return Vote.YES if answer.value else Vote.NO
    return Vote.ABSTAINED
