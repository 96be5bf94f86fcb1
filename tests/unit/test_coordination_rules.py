"""Votes, auctions, placing and trees: arithmetic, against models that are slow and plain."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardening.agents.coordination.auctions import AuctionResult, award
from hardening.agents.coordination.hierarchy import hierarchy
from hardening.agents.coordination.placing import Placer, WorkStrategy
from hardening.agents.coordination.voting import Ballot, Rule, Vote

NAMES = "abcde"
CAST = (Vote.YES, Vote.NO, Vote.ABSTAINED)
cast_votes = st.lists(st.sampled_from([*CAST, Vote.PENDING]), min_size=1, max_size=5)


def accepted(rule: Rule, votes: dict[str, Vote], quorum: int, weights: dict[str, int]) -> bool:
    """What the rule says in words, when all have voted."""
    yes, no = ([name for name in votes if votes[name] is vote] for vote in (Vote.YES, Vote.NO))
    if rule == "majority":
        return len(yes) > len(votes) / 2
    if rule == "unanimous":
        return len(yes) == len(votes)
    if rule == "quorum":
        return len(yes) + len(no) >= quorum and len(yes) > len(no)
    return sum(weights[name] for name in yes) > sum(weights.values()) / 2


@given(
    st.sampled_from(["majority", "unanimous", "quorum", "weighted"]), cast_votes, st.integers(1, 5),
    st.lists(st.integers(0, 4), min_size=5, max_size=5),
)  # fmt: skip
def test_it_is_decided_exactly_when_no_vote_can_change_it(
    rule: Rule, cast: list[Vote], quorum: int, drawn: list[int]
) -> None:
    """Neither earlier nor later: every way in which those that are out may vote is tried."""
    names = NAMES[: len(cast)]
    quorum, weights = min(quorum, len(names)), dict(zip(names, [*drawn[:-1], drawn[-1] + 1], strict=False))
    if not any(weights.values()):
        weights[names[0]] = 1
    said: dict[str, Any] = {"quorum": quorum if rule == "quorum" else None}
    ballot = Ballot(names, rule, **said, weights=weights if rule == "weighted" else None)
    votes = dict(zip(names, cast, strict=True))
    out = [name for name in names if votes[name] is Vote.PENDING]
    ends = {
        accepted(rule, {**votes, **dict(zip(out, way, strict=True))}, quorum, weights)
        for way in product(CAST, repeat=len(out))
    }
    known = {name: vote for name, vote in votes.items() if vote is not Vote.PENDING}
    assert ballot.verdict(known) == ballot.verdict(votes) == (ends.pop() if len(ends) == 1 else None)


@pytest.mark.parametrize(
    ("rule", "said", "message"),
    [
        ("most", {}, "rule is 'most', expected one of: majority, unanimous, quorum, weighted"),
        ("majority", {"quorum": 1}, "quorum is for the rule of that name"),
        ("weighted", {}, "weights are for weighted"),
        ("quorum", {"weights": {"a": 1}}, "weights are for weighted"),
        ("quorum", {"quorum": 3}, "quorum is 3, expected 1 to 2 participants"),
        ("quorum", {"quorum": True}, "quorum is True"),
        ("weighted", {"weights": {"a": 1}}, r"weights are for \['a'\], expected one for each of \['a', 'b'\]"),
        ("weighted", {"weights": {"a": 0, "b": 0}}, "expected numbers of 0 or more, and one of more than 0"),
        ("weighted", {"weights": {"a": -1, "b": 2}}, "expected numbers of 0 or more"),
        ("weighted", {"weights": {"a": float("inf"), "b": 2}}, "expected numbers of 0 or more"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: Any, said: dict[str, Any], message: str) -> None:
    """In one line."""
    with pytest.raises(ValueError, match=message):
        Ballot("ab", rule, **{"quorum": None, "weights": None, **said})


def test_a_quorum_is_more_than_half_by_default() -> None:
    """Of all participants."""
    ballot = Ballot("abcd", "quorum", quorum=None, weights=None)
    some = {"a": Vote.YES, "b": Vote.YES, "c": Vote.ABSTAINED, "d": Vote.ABSTAINED}
    assert ballot.verdict(some) is False
    assert ballot.verdict({**some, "c": Vote.NO}) is True


# -- auctions

bids_of = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 4), max_size=5)


@given(bids_of, st.one_of(st.none(), st.integers(0, 9)))
def test_the_highest_bid_wins_at_the_price_of_the_second(bids: dict[str, int], seed: int | None) -> None:
    """As whoever sorts them by hand finds; whatever the order in which they came."""
    said = award(bids, {}, reserve=0.5, seed=seed)
    assert said == award(dict(reversed(bids.items())), {}, reserve=0.5, seed=seed)
    assert list(said.bids.items()) == sorted(bids.items(), key=lambda bid: (-bid[1], bid[0]))
    if not bids:
        assert said == AuctionResult(None, None, {}, {})
        assert not said
        return
    best = max(bids.values())
    equal = sorted(name for name in bids if bids[name] == best)
    assert said.winner in equal
    assert bool(said)
    if seed is None:
        assert said.winner == equal[0]
    others = [bid for name, bid in bids.items() if name != said.winner]
    assert said.price == (max(others) if others else 0.5)


def test_a_seed_draws_among_equals_and_no_others() -> None:
    """Each has its chance."""
    bids = {"a": 1, "b": 3, "c": 3, "d": 3}
    assert {award(bids, {}, seed=seed).winner for seed in range(50)} == {"b", "c", "d"}
    assert {award(bids, {}, seed="x").winner for _ in range(20)} == {award(bids, {}, seed="x").winner}


@given(st.integers(0, 9), st.integers(0, 9), bids_of)
def test_to_bid_what_it_is_worth_is_best(worth: int, bid: int, others: dict[str, int]) -> None:
    """Vickrey's theorem: no other bid ever leaves a bidder better off, whatever the others bid."""

    def gain(mine: int) -> float:
        said = award({**others, "me": mine}, {})
        return worth - (said.price or 0.0) if said.winner == "me" else 0.0

    assert gain(worth) >= gain(bid)


# -- placing


@given(st.lists(st.sets(st.sampled_from(NAMES)), max_size=30))
def test_round_robin_passes_over_those_who_are_away(there: list[set[str]]) -> None:
    """And goes on behind the last that was chosen."""
    placer, turn = Placer("round_robin", NAMES), 0
    for among in there:
        expected = next((NAMES[(turn + ahead) % 5] for ahead in range(5) if NAMES[(turn + ahead) % 5] in among), None)
        assert placer.place((), among) == expected
        if expected:
            turn = NAMES.index(expected) + 1


@given(st.lists(st.integers(0, 6), min_size=5, max_size=5), st.integers(0, 30))
def test_least_loaded_evens_out(waiting: list[int], pieces: int) -> None:
    """Each piece goes to one that has fewest at that moment, the first of them."""
    loads = dict(zip(NAMES, waiting, strict=True))
    placer = Placer("least_loaded", NAMES, loads=loads)
    for _ in range(pieces):
        chosen = min(NAMES, key=lambda name: (loads[name], name))
        assert placer.place((), NAMES) == chosen
        loads[chosen] += 1


@given(
    st.lists(st.sets(st.sampled_from("xyz")), min_size=5, max_size=5),
    st.lists(st.tuples(st.sets(st.sampled_from("xyz")), st.sets(st.sampled_from(NAMES))), max_size=20),
)
def test_whoever_gets_a_piece_can_do_it(can: list[set[str]], pieces: list[tuple[set[str], set[str]]]) -> None:
    """Of those, one that has been given least; nobody, if none is there who can."""
    able, given_to = dict(zip(NAMES, can, strict=True)), dict.fromkeys(NAMES, 0)
    placer = Placer("capability", NAMES, capabilities=able)
    for needs, among in pieces:
        fit = [name for name in NAMES if name in among and needs <= able[name]]
        chosen = placer.place(needs, among)
        assert chosen == min(fit, key=lambda name: (given_to[name], name), default=None)
        if chosen:
            given_to[chosen] += 1


def test_a_strategy_that_there_is_not_is_refused() -> None:
    """In one line."""
    wrong: Any = "random"
    with pytest.raises(
        ValueError, match="strategy is 'random', expected one of: round_robin, least_loaded, capability"
    ):
        Placer(wrong, NAMES)
    strategy: WorkStrategy = "least_loaded"
    assert Placer(strategy, "a").place((), ()) is None


# -- trees


def test_a_tree_is_read_level_by_level() -> None:
    """Mappings, lists, and what has nothing under it."""
    tree = hierarchy({"chief": {"north": ["n1", "n2"], "south": {"s1": {"deep": ()}}}, "deputy": []})
    assert tree.levels == (("chief", "deputy"), ("north", "south"), ("n1", "n2", "s1"), ("deep",))
    assert [tree.above(name) for name in ("chief", "north", "deep")] == [None, "chief", "s1"]
    assert [tree.below(name) for name in ("chief", "north", "deputy")] == [("north", "south"), ("n1", "n2"), ()]
    for ask in (tree.above, tree.below):
        with pytest.raises(KeyError):
            ask("nobody")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, "a hierarchy is empty"),
        ("chief", "under the top is 'chief', expected a list of names, or a mapping"),
        ({"a": "b"}, "under 'a' is 'b', expected a list"),
        ({"a": ["b"], "b": []}, "agent 'b' stands twice in the hierarchy"),
    ],
)
def test_a_tree_that_is_none_is_refused(tree: Any, message: str) -> None:
    """In one line."""
    with pytest.raises(ValueError, match=message):
        hierarchy(tree)
