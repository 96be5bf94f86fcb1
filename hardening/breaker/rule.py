"""The rule of one breaker as a process goes by it: declared, set, and with its exceptions found."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hardening.core.breaker_rules import BreakerRule
from hardening.core.errors import ConfigError
from hardening.core.scripts.breaking import NEVER, Rates

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Rule", "rule_of"]


@dataclass(frozen=True, slots=True)
class Rule:
    """When a breaker opens.

    Attributes:
        rates: as scripts take them.
        open_s: how long it stays open.
        slow_call_s: from how long on a call is slow, in seconds; None: none is.
        counts: the exceptions that are failures; None: see :func:`hardening.breaker.verdict.judge`.
    """

    rates: Rates
    open_s: float
    slow_call_s: float | None
    counts: tuple[type[BaseException], ...] | None


def rule_of(name: str, declared: BreakerRule | None, settings: Mapping[str, BreakerRule]) -> Rule:
    """The rule of a breaker: what the operator's setting says, then what the code declares, then the defaults.

    Raises:
        ConfigError: they do not go together, or an exception cannot be found.
    """
    try:
        rule = (declared or BreakerRule()).under(settings.get(name))
    except ValidationError as error:
        raise ConfigError(f"breaker {name!r}: what its setting changes does not fit the rest: {error}") from error
    is_slow = rule.slow_call_s is not None
    slow_rate = (rule.slow_rate or rule.failure_rate) if is_slow else NEVER
    rates = Rates(
        rule.failure_rate,
        slow_rate,
        rule.minimum_calls,
        int(rule.window_s * 1000),
        int(rule.open_s * 1000),
        rule.probes,
    )
    counts = None if rule.counts is None else tuple(_found(name, one) for one in rule.counts)
    return Rule(rates, rule.open_s, rule.slow_call_s, counts)


def _found(name: str, given: type[BaseException] | str) -> type[BaseException]:
    if isinstance(given, type):
        return given
    module, _, attribute = given.rpartition(".")
    try:
        found: object = getattr(import_module(module) if module else builtins, attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"breaker {name!r} counts {given!r}, which cannot be imported: {error}") from error
    if isinstance(found, type) and issubclass(found, BaseException):
        return found
    raise ConfigError(f"breaker {name!r} counts {given!r}, which is no exception")
