"""A context in a header: bounded, and never a reason to fail."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardening.context import Breadcrumb, ErrorContext
from hardening.core.context_header import bounded_context, read_context


class _Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")


class _Spoken:
    def __str__(self) -> str:
        return "spoken"


#: Some of it longer than any text may stay; by repetition, as long ones are slow to draw.
_TEXT = st.text(max_size=12) | st.builds(lambda text, times: text * times, st.text(max_size=8), st.integers(30, 60))
_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | _TEXT
    | st.binary(max_size=20)
    | st.builds(_Unspeakable)
    | st.builds(object),
    lambda inside: (
        st.lists(inside, max_size=20)
        | st.dictionaries(_TEXT | st.integers(), inside, max_size=20)
        | st.tuples(inside, inside)
    ),
    max_leaves=12,
)
_FIELDS = st.dictionaries(_TEXT, _ANYTHING, max_size=4) | st.dictionaries(
    _TEXT, st.integers(), min_size=33, max_size=36
)
_CRUMBS = st.lists(st.tuples(_TEXT, st.dictionaries(_TEXT, _ANYTHING, max_size=2)), max_size=5) | st.lists(
    st.tuples(_TEXT, st.just({})), min_size=21, max_size=24
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(_TEXT.filter(bool), _TEXT, _FIELDS, _CRUMBS)
def test_whatever_is_said_is_packed_as_bounded_json_that_is_read_as_it_is(
    identity: str, operation: str, fields: dict[str, Any], crumbs: list[tuple[str, dict[str, Any]]]
) -> None:
    """Reading changes nothing any more."""
    packed = bounded_context(identity, operation, fields, crumbs)
    text = json.dumps(packed, allow_nan=False)
    assert len(text) < 10_000
    text.encode()
    assert read_context(json.loads(text)) == packed


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside, max_size=5) | st.dictionaries(st.text(), inside, max_size=5),
)
_NEARLY = st.fixed_dictionaries(
    {"correlation_id": st.text(max_size=300) | _JSON},
    optional={
        "operation": _JSON,
        "fields": _JSON,
        "breadcrumbs": _JSON | st.lists(st.fixed_dictionaries({"text": _JSON, "fields": _JSON}), max_size=40),
    },
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(_JSON | _NEARLY)
def test_whatever_a_header_holds_it_is_read_or_it_is_none(value: Any) -> None:
    """Anybody may have written it."""
    read = read_context(value)
    assert read is None or len(json.dumps(read, allow_nan=False)) < 10_000
    assert read is None or 0 < len(read["correlation_id"]) <= 100


def test_what_is_no_json_is_said_in_its_own_words() -> None:
    """Or, where it has none, by its kind."""
    fields = {
        "a": _Spoken(), "b": _Unspeakable(), "c": 2**63, "d": float("nan"), "e": {"k": (1, _Spoken())}, "f": b"x",
        "g": {"1": {"2": {"3": {"4": 5}}}}, "h": -(2**63), "i": True, "j": None, "k": 0.5, "l": 10**5000,
    }  # fmt: skip
    assert bounded_context("id", "", fields, [])["fields"] == {
        "a": "spoken", "b": "(_Unspeakable that cannot be shown)", "c": str(2**63), "d": "nan",
        "e": {"k": [1, "spoken"]}, "f": "b'x'", "g": {"1": {"2": {"3": "{'4': 5}"}}}, "h": -(2**63),
        "i": True, "j": None, "k": 0.5, "l": "(int that cannot be shown)",
    }  # fmt: skip


def test_each_bound_is_kept() -> None:
    """Of a text, an id, a name; of fields, items and breadcrumbs; of all together."""
    long = "x" * 1000
    packed = bounded_context(long, long, {long: long, "list": list(range(99))}, [(long, {})])
    assert packed["correlation_id"] == f"{'x' * 99}…"
    assert packed["operation"] == f"{'x' * 255}…"
    assert packed["fields"] == {f"{'x' * 99}…": f"{'x' * 255}…", "list": list(range(16))}
    assert packed["breadcrumbs"] == [{"text": f"{'x' * 255}…", "fields": {}}]
    many = bounded_context("id", "", {str(n): n for n in range(99)}, [(str(n), {}) for n in range(99)])
    assert list(many["fields"]) == [str(n) for n in range(32)]
    assert [crumb["text"] for crumb in many["breadcrumbs"]] == [str(n) for n in range(79, 99)]
    large = bounded_context("id", "", {str(n): long for n in range(32)}, [(f"{n}{long}", {}) for n in range(20)])
    assert 8 <= len(large["fields"]) <= 11
    assert [crumb["text"][:2] for crumb in large["breadcrumbs"]][-1] == "19"
    assert 8 <= len(large["breadcrumbs"]) <= 11


def test_half_a_character_does_not_get_into_a_message() -> None:
    """Redis would take it, and whoever reads it would not."""
    packed = ErrorContext("\ud800", "", {"a\ud800": "\udfff"}, (Breadcrumb("\ud801"),)).packed()
    assert packed == {"correlation_id": "?", "operation": "", "fields": {"a?": "?"},
                      "breadcrumbs": [{"text": "?", "fields": {}}]}  # fmt: skip


def test_only_a_context_with_an_id_is_one() -> None:
    """The rest may be missing."""
    for value in (None, "x", {}, {"correlation_id": ""}, {"correlation_id": 7}, ["correlation_id"]):
        assert read_context(value) is None
    nothing: dict[str, Any] = {"operation": "", "fields": {}, "breadcrumbs": []}
    wrong = {"operation": 7, "fields": [1], "breadcrumbs": [1, {"text": 3}]}
    assert read_context({"correlation_id": "a"}) == {"correlation_id": "a", **nothing}
    assert read_context({"correlation_id": "a", **wrong}) == {
        "correlation_id": "a", "operation": "", "fields": {}, "breadcrumbs": [{"text": "3", "fields": {}}],
    }  # fmt: skip
