"""What the code of this process declares of breakers, by name."""

from __future__ import annotations

from typing import Any

from hardening.core.breaker_rules import BreakerRule, name_fault, rule_faults
from hardening.core.errors import ConfigError

__all__ = ["declare", "declared_names", "declared_rule"]

_rules: dict[str, BreakerRule] = {}


def declare(name: str, given: dict[str, Any]) -> None:
    """Declares a breaker; without a rule, one that may be declared elsewhere.

    Raises:
        ConfigError: with every fault of the rule; or it is declared already, and says something else.
    """
    if fault := name_fault(name):
        raise ConfigError(fault)
    if faults := rule_faults(given):
        raise ConfigError([f"breaker {name!r} {fault}" for fault in faults])
    if not given:
        _rules.setdefault(name, BreakerRule())
        return
    rule, before = BreakerRule(**given), _rules.get(name)
    if before is not None and before.model_fields_set and before != rule:
        raise ConfigError(f"breaker {name!r} is declared twice, with different rules: declare it in one place")
    _rules[name] = rule


def declared_rule(name: str) -> BreakerRule | None:
    """What is declared of a breaker."""
    return _rules.get(name)


def declared_names() -> tuple[str, ...]:
    """All that are declared."""
    return tuple(_rules)
