"""The setting ``breakers``: the rules of breakers that all workers share; see :mod:`hardening.breaker`."""

from __future__ import annotations

import builtins
import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator

__all__ = ["BreakerRule", "name_fault", "near_to", "read_breakers", "rule_faults"]

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_DAY_S = 86_400.0


class BreakerRule(BaseModel):
    """When a breaker opens, and what it does then. Times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    #: Part of the calls in the window that must fail for it to open.
    failure_rate: float = Field(default=0.5, gt=0.0, le=1.0)
    #: How many calls there must be in the window before anything opens it. Too low: one hiccup does it.
    minimum_calls: int = Field(default=20, ge=1, le=1_000_000)
    #: How long a call counts.
    window_s: float = Field(default=10.0, ge=0.1, le=_DAY_S)
    #: How long it stays open before it is probed; also how long a probe keeps its place if it is not heard of again.
    open_s: float = Field(default=30.0, ge=0.05, le=_DAY_S)
    #: How many calls a half-open breaker lets through, and how many of them must succeed to close it.
    probes: int = Field(default=3, ge=1, le=1000)
    #: From how long on a call is slow; None: none is.
    slow_call_s: float | None = Field(default=None, gt=0.0, le=_DAY_S)
    #: Part of the calls in the window that must be slow for it to open; None: the failure rate.
    slow_rate: float | None = Field(default=None, gt=0.0, le=1.0)
    #: The exceptions that are failures, as classes or dotted names; None: all but those that only ask Celery for
    #: something (Retry, Ignore, Reject).
    counts: tuple[type[BaseException] | str, ...] | None = None

    @field_validator("counts", mode="before")
    @classmethod
    def _read_counts(cls, value: object) -> object:
        if value is None:
            return None
        many = (value,) if isinstance(value, str | type) or not isinstance(value, Iterable) else tuple(value)
        for one in many:
            is_class = isinstance(one, type) and issubclass(one, BaseException)
            is_name = isinstance(one, str) and _DOTTED.fullmatch(one)
            if not (is_class or is_name) or (is_name and "." not in str(one) and not hasattr(builtins, str(one))):
                raise ValueError(f"expected exception classes or their dotted names, not {one!r}")
        return many

    @field_serializer("counts")
    def _name_counts(self, value: tuple[Any, ...] | None) -> tuple[str, ...] | None:
        return value and tuple(one if isinstance(one, str) else f"{one.__module__}.{one.__qualname__}" for one in value)

    @model_validator(mode="after")
    def _need_slow_call_s(self) -> Self:
        if self.slow_rate is not None and self.slow_call_s is None:
            raise ValueError("slow_rate needs slow_call_s, which says from when on a call is slow")
        return self

    def under(self, setting: BreakerRule | None) -> BreakerRule:
        """This rule with what an operator's setting says instead; the whole is checked again.

        Raises:
            pydantic.ValidationError: they do not go together.
        """
        said = {} if setting is None else {name: getattr(setting, name) for name in setting.model_fields_set}
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return BreakerRule(**{**given, **said})


def name_fault(name: object) -> str:
    """What is wrong with the name of a breaker; empty: nothing."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return ""
    return f"a breaker cannot be named {name!r}: expected 1 to 64 letters, digits, '_', '.' or '-'"


def near_to(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(names) or 'none'}"


def rule_faults(given: dict[str, Any]) -> list[str]:
    """What is wrong with a rule, one sentence each."""
    known = BreakerRule.model_fields
    faults = [f"has an unknown {name!r}, {near_to(str(name), known)}" for name in given if name not in known]
    try:
        BreakerRule.model_validate({name: value for name, value in given.items() if name in known})
    except ValidationError as error:
        for item in error.errors():
            name = str(item["loc"][0]) if item["loc"] else ""
            said = item["msg"].removeprefix("Value error, ")
            faults.append(f"has {name}={given[name]!r}: {said[0].lower()}{said[1:]}" if name else f"is wrong: {said}")
    return faults


def read_breakers(value: object) -> object:
    """The setting as it was given, with JSON read, and all that is wrong with it told at once.

    Raises:
        ValueError: with every fault.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"expected JSON, {error}") from error
    if not isinstance(value, dict):
        raise ValueError('expected a mapping such as {"stripe": {"failure_rate": 0.5}}')
    faults = []
    for name, rule in value.items():
        if wrong := name_fault(name):
            faults.append(wrong)
        elif isinstance(rule, dict):
            faults += [f"breaker {name!r} {fault}" for fault in rule_faults(rule)]
        elif not isinstance(rule, BreakerRule):
            faults.append(f"breaker {name!r} is {rule!r}, expected a mapping")
    if faults:
        raise ValueError("; ".join(faults))
    return value
