"""Secrets: what is masked, what is not, and that no text makes it slow."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardening.core.redaction import TOO_DEEP, Redactor

REDACTOR = Redactor()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
)


@pytest.mark.parametrize(
    "key",
    ["password", "PASSWORD", "db_password", "passWord".lower(), "accessToken", "X-Api-Key", "api_key", "apiKey",
     "Authorization", "card", "card_number", "client.secret", "secret2".replace("2", "")],
)  # fmt: skip
def test_keys_are_secret_by_their_words(key: str) -> None:
    """In any case and any spelling."""
    assert REDACTOR.is_secret(key)


@pytest.mark.parametrize("key", ["cardinal", "tokenizer", "passwords_are_bad".replace("s_", "z_"), "api", "", 3, None])
def test_other_keys_are_not(key: Any) -> None:
    """A part of a word is no word."""
    assert not REDACTOR.is_secret(key)


def test_values_are_masked_however_deep_they_are() -> None:
    """All of a secret value; the given one is not changed."""
    given_value = {"a": [{"password": {"x": 1}, "b": ("token=abc", 7)}], "card": None}
    assert REDACTOR.value(given_value) == {"a": [{"password": "***", "b": ["token=***", 7]}], "card": "***"}
    assert given_value["card"] is None
    assert Redactor(()).value({"password": "x"}) == {"password": "x"}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("password=hunter2 user=me", "password=*** user=me"),
        ("password: hunter2, user: me", "password: ***, user: me"),
        ('{"password": "hun\\"ter 2", "user": "me"}', '{"password": ***, "user": "me"}'),
        ("{'api_key': 'hunter 2', 'n': 1}", "{'api_key': ***, 'n': 1}"),
        ("charge(card='4111 1111', n=2)", "charge(card=***, n=2)"),
        ("Authorization: Bearer abc.def rest", "Authorization: *** rest"),
        ("https://x/?token=abc&page=2", "https://x/?token=***&page=2"),
        ("url=https://x/?token=abc&page=2", "url=https://x/?token=***&page=2"),
        ('{\\"password\\": \\"hunter2\\", \\"n\\": 1}', '{\\"password\\": ***, \\"n\\": 1}'),
        ("token = None", "token = ***"),
        ("password='not closed", "password=***"),
        ("wrong password", "wrong password"),
        ("token", "token"),
        ("ValueError: no such card", "ValueError: no such card"),
        ("", ""),
    ],
)
def test_texts_are_masked_where_they_say_what_it_is(text: str, masked: str) -> None:
    """As reprs, JSON, headers and addresses do."""
    assert REDACTOR.text(text) == masked


def test_what_is_too_deep_is_not_shown() -> None:
    """Nobody could tell what is in it."""
    deep: Any = "password=x"
    for _ in range(150):
        deep = [deep]
    assert "x" not in json.dumps(REDACTOR.value(deep))
    for _ in range(100):
        deep = {"a": deep}
    assert REDACTOR.value(deep) == TOO_DEEP


@given(JSON)
def test_without_names_nothing_changes(value: Any) -> None:
    """Whatever it is."""
    assert Redactor(()).value(value) == value


@given(JSON.filter(bool), st.sampled_from(["password", "cardNumber", "X-API-KEY"]))
def test_no_value_of_a_secret_key_is_shown(value: Any, key: str) -> None:
    """In any place of any value."""
    assert REDACTOR.value([{"a": {key: value}}]) == [{"a": {key: "***"}}]


@pytest.mark.parametrize(
    "text", ["a" * 300_000, "a." * 150_000, "password=" * 30_000, '"' * 300_000, "token='" * 40_000, "\\" * 300_000,
             "password=" + "\\" * 300_000, "a=" * 150_000, "bearer " * 40_000]
)  # fmt: skip
def test_no_text_makes_it_slow(text: str) -> None:
    """Somebody may have sent it for that. Of the processor's time: what else runs here does not count."""
    began_s = time.process_time()
    REDACTOR.text(text)
    assert time.process_time() - began_s < 3
