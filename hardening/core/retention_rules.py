"""The setting ``dlq_retention``: which dead letters go before the others."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["RETENTION_KINDS", "RetentionRule"]

_YEAR_S = 31_536_000.0
#: What a rule may be for; ``default`` is what no other rule is for.
RETENTION_KINDS = ("default", "reason:", "queue:", "dlq:", "task:")


class RetentionRule(BaseModel):
    """One rule; what is None is bounded by the limits for all dead letters alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: How long each of its letters is kept, in seconds.
    max_age_s: float | None = Field(default=None, ge=1.0, le=100 * _YEAR_S)
    #: How many of its letters are kept, all together; the oldest go first.
    max_entries: int | None = Field(default=None, ge=1, le=100_000_000)
