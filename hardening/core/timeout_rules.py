"""The setting ``timeouts``: how long anything may take, by the name of what is done.

A rule has one of five kinds of names, told apart by how they are written:

- ``default``, ``long``, ``critical``: the classes. Their values are seconds.
- ``service:payments``: every operation whose name is ``payments`` or begins with ``payments.``.
- ``network_call.*``: a pattern; ``*`` stands for any characters, dots too.
- ``payments.refund``: one operation. A task's name is the name of an operation.

The value of the last three is seconds, or the name of a class.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CLASSES", "SERVICE", "Value", "faults_in", "flattened", "name_fault", "read_timeouts", "value_fault"]

#: The classes, with what they are where nobody says otherwise, in seconds.
CLASSES = {"default": 5.0, "long": 30.0, "critical": 60.0}
#: What the name of a rule for a service begins with.
SERVICE = "service:"

_NAME = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_.\-/*]{0,199}")
_MOST_STARS = 8
#: How much like a class the name of an operation may be, for it would be there in silence.
_TOO_NEAR = 0.8
_SHORTEST_S, _LONGEST_S = 0.001, 31_536_000.0

Value = float | str


def read_timeouts(value: object) -> dict[str, Value]:
    """The setting as it was given, with JSON read and everything in it checked.

    Raises:
        ValueError: with every fault in it.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"expected JSON, {error}") from error
    if not isinstance(value, dict):
        raise ValueError('expected a mapping such as {"default": 5, "network_call.*": "long"}')
    rules = flattened(value)
    if faults := faults_in(rules):
        raise ValueError("; ".join(faults))
    return rules


def flattened(table: Mapping[str, object], head: str = "") -> dict[str, Value]:
    """A table without tables in it: TOML reads ``payments.refund = 12`` as a table named ``payments``."""
    flat: dict[str, Value] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            flat.update(flattened(value, f"{head}{name}."))
        else:
            flat[f"{head}{name}"] = float(value) if _is_number(value) else value  # type: ignore[arg-type, assignment]
    return flat


def faults_in(rules: Mapping[str, object]) -> list[str]:
    """What is wrong with rules, one sentence each."""
    return [fault for name, value in rules.items() if (fault := name_fault(name) or value_fault(name, value))]


def name_fault(name: str) -> str:
    """What is wrong with the name of a rule; empty: nothing."""
    kind, colon, rest = name.partition(":")
    if colon:
        near = difflib.get_close_matches(f"{kind}:", [SERVICE], n=1)
        if kind + colon != SERVICE:
            return f"unknown rule {name!r}, " + (
                f"did you mean {SERVICE + rest!r}?" if near else "expected service:NAME"
            )
        if "*" in rest:
            return f"rule {name!r} has a *, and covers what is under it anyway: leave the * out"
    if not _NAME.fullmatch(rest if colon else name):
        return f"rule {name[:80]!r} is no name: expected up to 200 letters, digits, and . _ - / *"
    if name.count("*") > _MOST_STARS:
        return f"rule {name!r} has more than {_MOST_STARS} *"
    near = difflib.get_close_matches(name, list(CLASSES), n=1, cutoff=_TOO_NEAR)
    if near and near[0] != name:
        hint = f"did you mean {near[0]!r}? A task of that name is covered by {SERVICE + name!r}"
        return f"rule {name!r} is nearly a class, {hint}"
    return ""


def value_fault(name: str, value: object) -> str:
    """What is wrong with the value of a rule; empty: nothing."""
    if isinstance(value, str):
        if name in CLASSES:
            return f"{name} is {value!r}, expected seconds: it is a class itself"
        if value in CLASSES:
            return ""
        near = difflib.get_close_matches(value, list(CLASSES), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected seconds, or one of {', '.join(CLASSES)}"
        return f"{name} is {value[:80]!r}, {hint}"
    if not _is_number(value):
        return f"{name} is {value!r}, expected seconds, or one of {', '.join(CLASSES)}"
    if not math.isfinite(value) or not _SHORTEST_S <= value <= _LONGEST_S:  # type: ignore[arg-type, operator]
        return f"{name} is {value!r}, expected from {_SHORTEST_S:g} to {_LONGEST_S:.0f} seconds: nothing waits for ever"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
