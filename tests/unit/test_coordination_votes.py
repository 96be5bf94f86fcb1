"""Votes, auctions and trees, with agents that are made up."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from kombu.exceptions import EncodeError

from hardening.agents.coordination import Vote, auction, consensus, distribute_work, hierarchy
from hardening.agents.coordination.bench import Presence
from hardening.core.errors import ConfigError
from tests.unit.coordinated import Cast, failing, here, no, silent, yes


def test_each_is_asked_once_all_at_once_in_the_context_of_who_asks() -> None:
    """None waits for another: each answers only when all have been asked."""
    together, heard = threading.Barrier(3), []

    def votes(handler: str, proposal: Any, timeout: float) -> bool:
        together.wait(10)
        heard.append((handler, proposal, timeout, here.get()))
        return True

    here.set("here")
    said = consensus(["a", "b", "c", "a"], {"x": 1}, "unanimous", 20, bench=Cast(a=votes, b=votes, c=votes))
    assert said
    assert heard == [("on_vote", {"x": 1}, 20.0, "here")] * 3
    assert (said.proposal, said.rule, said.reasons, said.announcement) == ({"x": 1}, "unanimous", {}, None)
    here.set("nowhere")


def test_who_does_not_vote_has_abstained() -> None:
    """For whatever reason, which is told in a line."""
    cast = Cast(a=yes, b=silent, c=failing, d=lambda *_: "yes", e=no)
    said = consensus(["a", "b", "c", "d", "e"], 1, "quorum", 0.3, quorum=2, bench=cast)
    assert not said
    assert said.votes == {"a": "yes", "b": "abstained", "c": "abstained", "d": "abstained", "e": "no"}
    assert said.reasons == {
        "b": "it did not vote within 0.3 s",
        "c": "RuntimeError: no",
        "d": "it answered 'yes', which is neither true nor false",
    }
    assert said.who(Vote.ABSTAINED) == ("b", "c", "d")


def test_what_is_certain_is_not_waited_for() -> None:
    """A vote that is still out is told as such, and nobody knows how it would have been."""
    said = consensus(
        list("abc"), 1, "weighted", 30, weights={"a": 3, "b": 1, "c": 1}, bench=Cast(a=yes, b=silent, c=silent)
    )
    assert (said.is_accepted, said.votes) == (True, {"a": "yes", "b": "pending", "c": "pending"})


def test_all_are_told_what_was_decided_if_that_is_asked_for() -> None:
    """Also those who did not vote."""
    cast = Cast(a=no, b=no, c=silent)
    said = consensus(["a", "b", "c"], "p", announce=True, announce_timeout=7, bench=cast)
    assert cast.spreads == [(("a", "b", "c"), "on_decision", ("p", False), 7)]
    assert said.announcement is not None


@pytest.mark.parametrize("fault", [EncodeError("x"), ConfigError("x"), TypeError("x")])
def test_what_is_wrong_with_the_question_is_raised(fault: Exception) -> None:
    """It is nobody's abstention."""

    def refused(*_: Any) -> None:
        raise fault

    with pytest.raises(type(fault)):
        consensus(["a", "b"], object(), bench=Cast(a=refused, b=yes))


@pytest.mark.parametrize("names", ["ab", [], [str(number) for number in range(257)]])
def test_who_is_to_be_asked_must_make_sense(names: Any) -> None:
    """Several names, and not too many."""
    if names == "ab":
        assert consensus(list(names), 1, bench=Cast(a=yes, b=yes))
        with pytest.raises(ValueError, match="agents is 'ab', expected the names of 1 to 256 agents"):
            distribute_work([], names, bench=Cast())
        return
    with pytest.raises(ValueError, match=r"bidders is .*, expected the names of 1 to 256 agents"):
        auction(1, names, bench=Cast())


# -- auctions


def test_bids_that_are_none_do_not_count() -> None:
    """Why is told; the reserve is the price of a single one."""
    bids: dict[str, Any] = {"a": 2, "b": None, "c": True, "d": float("nan"), "e": "9", "f": 1.5}
    cast = Cast(**{name: (lambda *_, bid=bid: bid) for name, bid in bids.items()}, g=failing, h=silent)
    said = auction("t", [*bids, "g", "h"], 0.3, reserve=1.75, bench=cast)
    assert (said.winner, said.price, said.bids) == ("a", 1.75, {"a": 2})
    assert said.silent == {
        "b": "it does not bid",
        "c": "it bid 'True', which is no number",
        "d": "it bid 'nan', which is no number",
        "e": "it bid '9', which is no number",
        "f": "it bid 1.5, below the reserve of 1.75",
        "g": "RuntimeError: no",
        "h": "it did not bid within 0.3 s",
    }
    assert not auction("t", ["g"], bench=Cast(g=failing))
    for wrong in (-1, True, float("nan")):
        with pytest.raises(ValueError, match=r"reserve is .*, expected a number of 0 or more"):
            auction("t", ["a"], reserve=wrong, bench=cast)


# -- trees


def test_a_level_is_told_when_the_one_above_has_been() -> None:
    """Also when some of that could not be."""
    cast = Cast()
    cast.away["b"] = Presence.ABSENT
    told: Any = hierarchy({"a": ["b", "c"]}).broadcast("h", 1, 2, confirm="acked", timeout=3, bench=cast)
    assert cast.spreads == [(("a",), "h", (1, 2), "acked", 3.0), (("b", "c"), "h", (1, 2), "acked", 3.0)]
    assert (told.ok, len(told), told[1].failed, [bool(level.failed) for level in told]) == (
        False, 2, ["b"], [False, True],
    )  # fmt: skip
