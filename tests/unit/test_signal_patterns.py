"""Patterns of signals: a tree of many matches as each by itself would, by the words of AMQP."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardening.agents.router.pattern import name_words, pattern_words
from hardening.agents.router.trie import Trie

WORDS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5)
PATTERNS = st.lists(st.sampled_from(["a", "b", "c", "*", "#"]), min_size=1, max_size=5)


def matches(pattern: list[str], name: list[str]) -> bool:
    """The plain way: every word of a pattern with the dot before it, as an expression."""
    parts = {"*": r"(?:\.[^.]+)", "#": r"(?:\.[^.]+)*"}
    expression = "".join(parts.get(word, re.escape(f".{word}")) for word in pattern)
    return re.fullmatch(expression, "".join(f".{word}" for word in name)) is not None


@given(st.lists(PATTERNS, max_size=12), st.lists(WORDS, min_size=1, max_size=4))
def test_a_tree_matches_as_each_pattern_by_itself(patterns: list[list[str]], names: list[list[str]]) -> None:
    """Whatever there is besides."""
    trie: Trie[int] = Trie()
    for at, pattern in enumerate(patterns):
        trie.add(pattern, at)
    for name in names:
        assert trie.match(name) == {at for at, pattern in enumerate(patterns) if matches(pattern, name)}


@given(st.lists(st.tuples(st.booleans(), PATTERNS, st.integers(0, 3)), max_size=30), WORDS)
def test_what_is_taken_out_leaves_nothing(steps: list[tuple[bool, list[str], int]], name: list[str]) -> None:
    """Added and taken out in any order, any number of times; in the end the tree is as a new one."""
    trie: Trie[int] = Trie()
    there: set[tuple[tuple[str, ...], int]] = set()
    for is_added, pattern, item in steps:
        if is_added:
            trie.add(pattern, item)
            there.add((tuple(pattern), item))
        else:
            trie.discard(pattern, item)
            there.discard((tuple(pattern), item))
        assert trie.match(name) == {item for one, item in there if matches(list(one), name)}
    for one, item in there:
        trie.discard(one, item)
    assert not trie._root.next


@pytest.mark.parametrize(
    ("pattern", "told", "untold"),
    [
        ("order.created", ["order.created"], ["order", "order.created.eu", "order.Created"]),
        ("order.*", ["order.created"], ["order", "order.item.added", "orders.created"]),
        ("order.#", ["order", "order.created", "order.item.added"], ["orders", "eu.order"]),
        ("#", ["order", "order.item.added"], []),
        ("*.created", ["order.created"], ["created", "eu.order.created"]),
        ("eu.#.failed", ["eu.failed", "eu.order.failed", "eu.order.item.failed"], ["eu.failed.again"]),
        ("#.#", ["a", "a.b"], []),
    ],
)
def test_words_of_amqp(pattern: str, told: list[str], untold: list[str]) -> None:
    """As documented."""
    trie: Trie[int] = Trie()
    trie.add(pattern_words(pattern), 1)
    assert [bool(trie.match(name_words(name))) for name in told + untold] == [True] * len(told) + [False] * len(untold)


def test_many_signs_do_not_make_it_slow() -> None:
    """No way is tried twice: a naive matcher would be at this for longer than the universe is old."""
    trie: Trie[int] = Trie()
    trie.add(["#", "a"] * 60, 1)
    assert not trie.match(["a"] * 120 + ["b"])


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a b", "a.*", "#", "or*er", "a\n", "x" * 256])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    """With one line that says what was expected."""
    with pytest.raises(ValueError, match=r"^signal is .*, expected [^\n]+$"):
        name_words(name)


@pytest.mark.parametrize("pattern", ["", "a.", "or*er.x", "a.#b", "**", "a b", "x" * 256])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    """Likewise."""
    with pytest.raises(ValueError, match=r"^pattern is .*, expected [^\n]+$"):
        pattern_words(pattern)


@pytest.mark.parametrize("text", [None, 7, b"a"])
def test_only_text_is_a_name(text: object) -> None:
    """Bytes are none."""
    with pytest.raises(TypeError, match="expected text"):
        name_words(text)  # type: ignore[arg-type]


def test_the_longest_name_and_any_alphabet_are_taken() -> None:
    """Letters are letters everywhere."""
    assert name_words("x" * 255) == ["x" * 255]
    assert name_words("bestellung.größe.größer-als_1") == ["bestellung", "größe", "größer-als_1"]
