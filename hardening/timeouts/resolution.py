"""Which rule is in force for a name.

The most specific wins, whichever layer it comes from:

1. the rule of exactly that name: an operation, or a class;
2. of the patterns that match, the one with the most characters besides its ``*``; of those the one with the fewest
   ``*``; of those the first in the alphabet;
3. of the services it belongs to, the longest;
4. ``default``.

Rules of the *same* name replace each other, layer by layer: what is built in, the file, the settings, what was set for
all processes, what was set in this one. Every result is multiplied by the factor.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING, NamedTuple

from hardening.core.timeout_rules import CLASSES, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hardening.core.timeout_rules import Value

__all__ = ["Resolved", "Rule", "Rules"]

#: How many names are remembered; then all are forgotten, for names may be made of data.
_MOST_KNOWN = 10_000


class Rule(NamedTuple):
    """One rule that is in force.

    Attributes:
        value: seconds, or the name of a class.
        source: the layer that said so.
    """

    value: Value
    source: str


class Resolved(NamedTuple):
    """How long something may take, and why.

    Attributes:
        seconds: how long, the factor included.
        rule: the name of the rule.
        source: the layer it comes from.
    """

    seconds: float
    rule: str
    source: str


class Rules:
    """The rules in force at one moment. Never changed: any thread may ask without a lock.

    Args:
        layers: names of layers with their rules, the least first.
        factor: what every result is multiplied by.

    Attributes:
        rules: by name, with where each comes from.
        known: seconds by name, of what was asked before.
        limits: the same for tasks, see :meth:`limit_s`.
    """

    def __init__(self, layers: Iterable[tuple[str, Mapping[str, Value]]], factor: float) -> None:
        self.rules = {name: Rule(value, source) for source, rules in layers for name, value in rules.items()}
        self.known: dict[str, float] = {}
        self._factor = factor
        patterns = sorted((name for name in self.rules if "*" in name), key=_least_special_last)
        self._patterns = [(re.compile(translate(name)).match, name) for name in patterns]
        self.limits: dict[str, float | None] = {}

    def seconds(self, name: str) -> float:
        """How long something may take, in seconds; as :meth:`resolve`, remembered."""
        if len(self.known) >= _MOST_KNOWN:
            self.known.clear()
        seconds = self.known[name] = self.resolve(name).seconds
        return seconds

    def resolve(self, name: str) -> Resolved:
        """The rule in force for a name."""
        rule = self._rule_for(name)
        return Resolved(self.value_s(rule), rule, self.rules[rule].source)

    def value_s(self, rule: str) -> float:
        """What a rule says, in seconds, the factor included."""
        value = self.rules[rule].value
        if isinstance(value, str):
            value = self.rules[value].value
        return float(value) * self._factor

    def limit_s(self, task: str) -> float | None:
        """How long a task may run, in seconds, if a rule besides ``default`` is about it; else None."""
        try:
            return self.limits[task]
        except KeyError:
            if len(self.limits) >= _MOST_KNOWN:
                self.limits.clear()
            found = self.resolve(task)
            limit_s = self.limits[task] = None if found.rule in CLASSES else found.seconds
            return limit_s

    def _rule_for(self, name: str) -> str:
        if name in self.rules and "*" not in name and not name.startswith(SERVICE):
            return name
        for matches, pattern in self._patterns:
            if matches(name):
                return pattern
        service = name
        while service:
            if SERVICE + service in self.rules:
                return SERVICE + service
            service = service.rpartition(".")[0]
        return "default"


def _least_special_last(pattern: str) -> tuple[int, int, str]:
    stars = pattern.count("*")
    return (stars - len(pattern), stars, pattern)
