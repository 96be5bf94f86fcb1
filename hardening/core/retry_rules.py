"""The setting ``dlq_retry``: when dead letters are retried by themselves."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["RETRY_KINDS", "RetryRule", "read_rules"]

#: What a rule may be for, the most special last.
RETRY_KINDS = ("default", "reason:", "queue:", "task:")
_MEANT = {"reason:": "reason:NAME", "queue:": "queue:NAME", "dlq:": "dlq:NAME", "task:": "task:PATTERN"}
_YEAR_S = 31_536_000.0


class RetryRule(BaseModel):
    """One rule; what is None is left to the rules before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: The longest wait before the first retry, in seconds.
    base_s: float | None = Field(default=None, gt=0.0, le=_YEAR_S)
    #: How much longer each next one may be.
    factor: float | None = Field(default=None, ge=1.0, le=10.0)
    #: The longest wait of all, in seconds.
    cap_s: float | None = Field(default=None, gt=0.0, le=_YEAR_S)
    #: How many retries there are before a letter is parked; 0: none.
    attempts: int | None = Field(default=None, ge=0, le=100)


def read_rules(value: object, model: type[BaseModel], kinds: tuple[str, ...]) -> object:
    """Rules as they were given, with JSON read and names checked.

    Args:
        value: of the setting.
        model: what a rule may say.
        kinds: what a rule may be for.

    Raises:
        ValueError: a rule or something in it has a name that is not known.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"expected JSON, {error}") from error
    if not isinstance(value, dict):
        field = next(reversed(model.model_fields))
        raise ValueError(f'expected a mapping such as {{"default": {{"{field}": 3}}}}')
    for name, rule in value.items():
        head, colon, rest = str(name).partition(":")
        kind = head + colon
        if kind not in kinds or (colon and not rest):
            *known, last = (_MEANT.get(one, one) for one in kinds)
            near = "" if kind in kinds else _near(kind, kinds, rest)
            expected = f"expected {', '.join(known)} or {last}"
            raise ValueError(f"unknown rule {name!r}, {near or expected}")
        for field in rule if isinstance(rule, dict) else ():
            if field not in model.model_fields:
                hint = _near(str(field), model.model_fields) or f"known are: {', '.join(model.model_fields)}"
                raise ValueError(f"rule {name!r} has an unknown {field!r}, {hint}")
    return value


def _near(name: str, known: Iterable[str], rest: str = "") -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0] + rest!r}?" if near else ""
