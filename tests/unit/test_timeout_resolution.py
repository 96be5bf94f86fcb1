"""Which rule is in force for a name: the order, and that nothing else matters."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardening.core.timeout_rules import CLASSES, faults_in
from hardening.timeouts.resolution import Resolved, Rules

_PARTS = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=3).map(".".join)
_PATTERNS = st.lists(st.sampled_from(["a", "b", ".", "*"]), min_size=1, max_size=5).map("".join)
_NAMES = st.one_of(_PARTS, _PARTS.map("service:{}".format), _PATTERNS, st.sampled_from(sorted(CLASSES)))
_RULES = st.dictionaries(_NAMES, st.one_of(st.floats(0.1, 100), st.sampled_from(sorted(CLASSES))), max_size=8)


def _sound(rules: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in rules.items() if not faults_in({name: value})}


def _naive(layers: list[dict[str, Any]], factor: float, asked: str) -> tuple[float, str]:
    """The documented order, by looking at everything."""
    merged: dict[str, Any] = {**CLASSES}
    for layer in layers:
        merged.update(layer)

    def rank(name: str) -> tuple[Any, ...] | None:
        if name.startswith("service:"):
            service = name.removeprefix("service:")
            return (2, -len(service)) if f"{asked}.".startswith(f"{service}.") else None
        if "*" in name:
            expression = ".*".join(re.escape(part) for part in name.split("*"))
            literal = len(name.replace("*", ""))
            return (1, -literal, name.count("*"), name) if re.fullmatch(expression, asked, re.DOTALL) else None
        if name == asked:
            return (0,)
        return (3,) if name == "default" else None

    ranked = sorted((rank(name), name) for name in merged if rank(name) is not None)
    rule = ranked[0][1]
    value = merged[rule]
    return (merged[value] if isinstance(value, str) else value) * factor, rule


@given(st.lists(_RULES, max_size=3), st.sampled_from([1.0, 3.0]), st.one_of(_PARTS, st.sampled_from(sorted(CLASSES))))
def test_the_rule_is_what_a_naive_model_says(layers: list[dict[str, Any]], factor: float, asked: str) -> None:
    """Any rules in any layers; asked twice, for the second answer is remembered."""
    layers = [_sound(layer) for layer in layers]
    seconds, rule = _naive(layers, factor, asked)
    named = [("built in", CLASSES), *((f"layer {number}", layer) for number, layer in enumerate(layers))]
    rules = Rules(named, factor)
    found = rules.resolve(asked)
    assert found.rule == rule
    assert found.seconds == pytest.approx(seconds)
    assert found.source == [source for source, layer in named if rule in layer][-1]
    assert rules.seconds(asked) == rules.known[asked] == found.seconds


def test_the_order_is_operation_pattern_service_default() -> None:
    """One after the other goes, and the next is in force."""
    rules: dict[str, Any] = {
        "pay.refund.all": 1, "pay.refund.*": 2, "*.refund.all": 3, "pay.*": 4, "pa*.*": 4.5, "service:pay.refund": 5,
        "service:pay": "critical", "default": 7,
    }  # fmt: skip
    seen = []
    while rules:
        found = Rules([("built in", CLASSES), ("s", rules)], 1).resolve("pay.refund.all")
        seen.append(found.seconds)
        rules.pop(found.rule)
    # the longer pattern first; of two that are as long, the one with fewer stars
    assert seen == [1, 3, 2, 4, 4.5, 5, 60, 7]


def test_a_class_is_asked_for_by_its_name() -> None:
    """And is what others refer to."""
    rules = Rules([("built in", CLASSES), ("s", {"long": 20, "mail.send": "long"})], 2)
    assert rules.resolve("long") == Resolved(40, "long", "s")
    assert rules.resolve("mail.send") == Resolved(40, "mail.send", "s")
    assert rules.resolve("critical") == Resolved(120, "critical", "built in")


def test_a_service_is_no_prefix_of_letters() -> None:
    """``pay`` covers ``pay`` and ``pay.x``, and not ``payments``."""
    rules = Rules([("built in", CLASSES), ("s", {"service:pay": 1})], 1)
    assert [rules.seconds(name) for name in ("pay", "pay.x", "payments", "service:pay")] == [1, 1, 5, 5]


def test_a_task_has_a_limit_only_where_a_rule_is_about_it() -> None:
    """The default is for those who wait; how long tasks run by default is another setting."""
    rules = Rules([("built in", CLASSES), ("s", {"shop.*": "long", "mail": 3})], 2)
    assert [rules.limit_s(name) for name in ("shop.pay", "mail", "other", "default", "mail")] == [60, 6, None, None, 6]


def test_names_made_of_data_do_not_fill_the_memory() -> None:
    """What is remembered is forgotten when it is too much."""
    rules = Rules([("built in", CLASSES)], 1)
    for number in range(25_000):
        rules.seconds(f"order.{number}")
        rules.limit_s(f"order.{number}")
    assert len(rules.known) <= 10_000
    assert len(rules.limits) <= 10_000
