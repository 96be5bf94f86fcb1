"""One line of the result: what was measured, on both sides, and what was aimed at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from benchmarks.sample import Ratio

if TYPE_CHECKING:
    from benchmarks.sample import Sample

__all__ = ["Row", "Target", "shown"]


def shown(value: float, unit: str = "") -> str:
    """A number with three digits that count, and its unit."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    space = "" if unit.startswith("/") or unit in ("", "x") else " "
    return f"{value:,.{digits}f}{space}{unit}"


@dataclass(frozen=True, slots=True)
class Target:
    """What a row should come to.

    Attributes:
        bound: the limit, which still counts as met.
        is_most: whether it is an upper limit, as opposed to a lower one.
        of_ratio: whether hardened over stock is meant, as opposed to the hardened number.
    """

    bound: float
    is_most: bool
    of_ratio: bool

    @classmethod
    def ratio_at_most(cls, bound: float) -> Self:
        """Hardened over stock, where less is better."""
        return cls(bound, is_most=True, of_ratio=True)

    @classmethod
    def ratio_at_least(cls, bound: float) -> Self:
        """Hardened over stock, where more is better."""
        return cls(bound, is_most=False, of_ratio=True)

    @classmethod
    def at_most(cls, bound: float) -> Self:
        """The hardened number, where less is better."""
        return cls(bound, is_most=True, of_ratio=False)

    @classmethod
    def at_least(cls, bound: float) -> Self:
        """The hardened number, where more is better."""
        return cls(bound, is_most=False, of_ratio=False)

    def is_met_by(self, value: float) -> bool:
        """Whether a number is good enough."""
        return value <= self.bound if self.is_most else value >= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line.

    Attributes:
        name: what was measured, within its measure.
        unit: of both samples; ``x``: they are ratios.
        hardened: what came out.
        stock: the same of stock Celery; None: it has no such thing.
        target: None: there is none.
    """

    name: str
    unit: str
    hardened: Sample
    stock: Sample | None = None
    target: Target | None = None

    @property
    def ratio(self) -> Ratio | None:
        """Hardened over stock; None as well where both are ratios themselves."""
        return Ratio.of(self.hardened, self.stock) if self.stock and self.unit != "x" else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target was met; None: there is none. A ratio that cannot be had misses it."""
        if self.target is None:
            return None
        if not self.target.of_ratio:
            return self.target.is_met_by(self.hardened.median)
        return self.ratio is not None and self.target.is_met_by(self.ratio.value)

    @property
    def target_text(self) -> str:
        """The target as people write it; empty: there is none."""
        if self.target is None:
            return ""
        bound = f"{self.target.bound:,g}" if self.target.bound < 10_000 else f"{self.target.bound:,.0f}"
        unit = "x" if self.target.of_ratio else self.unit
        space = "" if unit.startswith("/") or unit == "x" else " "
        return f"{'<=' if self.target.is_most else '>='} {bound}{space}{unit}"

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        ratio = self.ratio
        return {
            "name": self.name,
            "unit": self.unit,
            "stock": self.stock.to_json() if self.stock else None,
            "hardened": self.hardened.to_json(),
            "ratio": ratio.to_json() if ratio else None,
            "target": self.target_text or None,
            "met": self.is_met,
        }
