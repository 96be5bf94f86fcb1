"""The two sides, and whose turn it is."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Side", "orders"]

T = TypeVar("T")


class Side(StrEnum):
    """Who is measured."""

    STOCK = "stock"
    HARDENED = "hardened"


def orders(rounds: int, subjects: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """For each round the order in which subjects take their turns: forwards, backwards, forwards, ..."""
    for number in range(rounds):
        yield tuple(reversed(subjects)) if number % 2 else tuple(subjects)
