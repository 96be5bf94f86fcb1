"""The rules by which votes decide; pure arithmetic.

============  ==================================================================  ===============================
rule          accepted when                                                       who abstains
============  ==================================================================  ===============================
majority      more than half of *all* participants say yes                        counts against it
unanimous     all say yes                                                         stands in its way
quorum        at least ``quorum`` say yes or no, and more of these yes than no    is not counted, nor missed
weighted      those who say yes have more than half of *all* weight               its weight counts against it
============  ==================================================================  ===============================

A participant abstains that is dead, too slow, raises, or answers anything but true or false.
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from math import isfinite
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Ballot", "Rule", "Tally", "Vote"]

Rule = Literal["majority", "unanimous", "quorum", "weighted"]


class Vote(StrEnum):
    """How one participant voted."""

    YES = "yes"
    NO = "no"
    ABSTAINED = "abstained"
    #: The outcome was certain before it answered, so that nobody waited for it.
    PENDING = "pending"


class Tally(NamedTuple):
    """The weight of each kind of vote."""

    yes: Fraction
    no: Fraction
    abstained: Fraction
    pending: Fraction


class Ballot:
    """A rule, for certain participants.

    Args:
        participants: their names.
        rule: see above.
        quorum: for that rule, how many must vote; default: more than half.
        weights: for ``weighted``, of each participant; 0 or more.

    Raises:
        ValueError: an argument that makes no sense.
    """

    def __init__(
        self, participants: Sequence[str], rule: Rule, *, quorum: int | None, weights: Mapping[str, float] | None
    ) -> None:
        if rule not in get_args(Rule):
            raise ValueError(f"rule is {rule!r}, expected one of: {', '.join(get_args(Rule))}")
        if (quorum is not None) > (rule == "quorum") or (weights is not None) != (rule == "weighted"):
            raise ValueError(f"rule is {rule!r}: quorum is for the rule of that name, weights are for weighted")
        if quorum is not None and (isinstance(quorum, bool) or not 1 <= quorum <= len(participants)):
            raise ValueError(f"quorum is {quorum!r}, expected 1 to {len(participants)} participants")
        self.rule = rule
        self._quorum = quorum or len(participants) // 2 + 1
        self._weights = self._weighed(participants, weights)

    @staticmethod
    def _weighed(participants: Sequence[str], weights: Mapping[str, float] | None) -> dict[str, Fraction]:
        if weights is None:
            return dict.fromkeys(participants, Fraction(1))
        if set(weights) != set(participants):
            raise ValueError(f"weights are for {sorted(weights)}, expected one for each of {sorted(participants)}")
        wrong = {name: weight for name, weight in weights.items() if not (isfinite(weight) and weight >= 0)}
        if wrong or not any(weights.values()):
            raise ValueError(f"weights are {dict(weights)!r}, expected numbers of 0 or more, and one of more than 0")
        return {name: Fraction(weights[name]) for name in participants}

    def tally(self, votes: Mapping[str, Vote]) -> Tally:
        """The weight of each kind; who is not in ``votes`` is pending."""
        sums = dict.fromkeys(Vote, Fraction(0))
        for name, weight in self._weights.items():
            sums[votes.get(name, Vote.PENDING)] += weight
        return Tally(sums[Vote.YES], sums[Vote.NO], sums[Vote.ABSTAINED], sums[Vote.PENDING])

    def verdict(self, votes: Mapping[str, Vote]) -> bool | None:
        """Whether it is accepted; None: that depends on who has not voted yet."""
        yes, no, abstained, pending = self.tally(votes)
        total = yes + no + abstained + pending
        if self.rule == "unanimous":
            is_certain, is_possible = yes == total, not (no or abstained)
        elif self.rule == "quorum":
            is_certain = yes + no >= self._quorum and yes > no + pending
            is_possible = yes + no + pending >= self._quorum and yes + pending > no
        else:
            is_certain, is_possible = 2 * yes > total, 2 * (yes + pending) > total
        return True if is_certain else None if is_possible else False
