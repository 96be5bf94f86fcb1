"""Who is to do what."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.crew import MOST_CAPABILITIES, MOST_GIVEN, MOST_MEMBERS, Crew

NAMES = st.sampled_from("abcd")


@given(
    members=st.dictionaries(NAMES, st.sets(st.sampled_from("xy"))),
    able=st.sets(NAMES),
    load=st.dictionaries(NAMES, st.integers(0, MOST_GIVEN)),
    tried=st.lists(NAMES, max_size=4),
)
def test_nobody_fit_has_less_to_do_or_tried_it_less_often(
    members: dict[str, set[str]], able: set[str], load: dict[str, int], tried: list[str]
) -> None:
    """Of those who can, live, and have room."""
    crew = Crew()
    for name, known in members.items():
        crew.enlist(name, known)
    chosen = crew.choose("x", able, Counter(load), tried)
    fit = {name for name in able if "x" in members.get(name, ()) and load.get(name, 0) < MOST_GIVEN}
    assert (chosen is None) == (not fit)
    for other in fit:
        assert chosen in fit
        ours, theirs = ((tried.count(name), load.get(name, 0)) for name in (chosen or "", other))
        assert ours <= theirs


def test_who_has_tried_comes_after_who_has_much_to_do() -> None:
    """And nobody is given more than there is room for."""
    crew = Crew()
    for name in "ab":
        crew.enlist(name, ["x"])
    assert crew.choose("x", "ab", Counter(a=5, b=1), ["b"]) == "a"
    assert crew.choose("x", "ab", Counter(a=5, b=1), ["b", "a"]) == "b"
    assert crew.choose("x", "ab", Counter(a=MOST_GIVEN, b=1), ["b"]) == "b"
    assert crew.choose("x", "a", Counter(a=MOST_GIVEN)) is None


def test_who_registers_again_can_do_what_it_says_now() -> None:
    """And nothing else."""
    crew = Crew()
    crew.enlist("a", ["x", "y", "x"])
    crew.enlist("a", ["y"])
    assert crew.members == {"a": ["y"]}
    assert crew.capable("x") == []


def test_a_crew_is_bounded() -> None:
    """In members, each of whom may still say something else, and in what one can do."""
    crew = Crew()
    for number in range(MOST_MEMBERS):
        crew.enlist(f"a{number}", ["x"])
    crew.enlist("a0", ["y"])
    with pytest.raises(ValueError, match="unregister"):
        crew.enlist("b", ["x"])
    with pytest.raises(ValueError, match="101 capabilities, expected 100"):
        crew.enlist("a0", [str(number) for number in range(MOST_CAPABILITIES + 1)])
