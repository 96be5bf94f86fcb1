"""What the code of this process declares of breakers, by name: for one app, or for every app of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from hardening.core.breaker_rules import BreakerRule, name_fault, rule_faults
from hardening.core.errors import ConfigError

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["declare", "declared_names", "declared_rule"]

#: Declared without an app.
_shared: dict[str, BreakerRule] = {}
#: Declared with one; another app of the process neither lists nor knows them.
_own: WeakKeyDictionary[Celery, dict[str, BreakerRule]] = WeakKeyDictionary()


def declare(name: str, given: dict[str, Any], app: Celery | None = None) -> None:
    """Declares a breaker; without a rule, one that may be declared elsewhere.

    Args:
        name: the breaker's.
        given: its rule.
        app: whose it is; None: every app's.

    Raises:
        ConfigError: with every fault of the rule; or it is declared already, and says something else.
    """
    if fault := name_fault(name):
        raise ConfigError(fault)
    if faults := rule_faults(given):
        raise ConfigError([f"breaker {name!r} {fault}" for fault in faults])
    rules = _shared if app is None else _own.setdefault(app, {})
    if not given:
        rules.setdefault(name, BreakerRule())
        return
    rule = BreakerRule(**given)
    for others in (_shared, *(_own.values() if app is None else (rules,))):
        before = others.get(name)
        if before is not None and before.model_fields_set and before != rule:
            raise ConfigError(f"breaker {name!r} is declared twice, with different rules: declare it in one place")
    rules[name] = rule


def declared_rule(name: str, app: Celery | None = None) -> BreakerRule | None:
    """What is declared of a breaker for an app; a rule counts more than a mere name."""
    own, shared = _rules_of(app).get(name), _shared.get(name)
    return own if own is not None and (own.model_fields_set or shared is None) else shared


def declared_names(app: Celery) -> tuple[str, ...]:
    """All that are declared for an app."""
    return tuple({**_shared, **_rules_of(app)})


def _rules_of(app: Celery | None) -> dict[str, BreakerRule]:
    return {} if app is None else _own.get(app, {})
