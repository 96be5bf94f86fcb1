"""What a handful of rounds say: the median, and how far they lie apart."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Ratio", "Sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One number for each round.

    The spread is the least and the greatest, not quartiles: of five rounds, quartiles would be invented.

    Args:
        values: in the order of the rounds.

    Raises:
        ValueError: there is none.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("expected at least one value")

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """From any numbers."""
        return cls(tuple(float(value) for value in values))

    @property
    def median(self) -> float:
        """The middle one; of an even number the mean of the middle two."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest."""
        return max(self.values)

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {"median": self.median, "low": self.low, "high": self.high, "values": list(self.values)}


@dataclass(frozen=True, slots=True)
class Ratio:
    """One side over the other.

    Attributes:
        value: of the medians.
        low: the least of the pairs.
        high: the greatest of the pairs.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, over: Sample, under: Sample) -> Self | None:
        """The ratio of two samples whose values belong together in pairs; None where one would divide by zero.

        Raises:
            ValueError: they are not of one length.
        """
        if len(over.values) != len(under.values):
            raise ValueError(f"{len(over.values)} and {len(under.values)} values do not make pairs")
        if not (under.median and all(under.values)):
            return None
        pairs = [above / below for above, below in zip(over.values, under.values, strict=True)]
        return cls(over.median / under.median, min(pairs), max(pairs))

    def to_json(self) -> dict[str, float]:
        """All of it, for programs."""
        return {"value": self.value, "low": self.low, "high": self.high}
