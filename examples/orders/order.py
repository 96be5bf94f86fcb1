"""What customers want."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

__all__ = ["PRICES", "Order", "first_stock", "generate"]

#: Cents for one, by article.
PRICES = {"tea": 450, "coffee": 890, "cocoa": 620}
#: Share of an article's orders that its stock would do for, before goods come in.
_STOCK = 0.6


@dataclass(frozen=True, slots=True)
class Order:
    """One order.

    Attributes:
        id: its number, from 1.
        customer: whose.
        article: what is wanted.
        n: how many.
    """

    id: int
    customer: str
    article: str
    n: int


def generate(count: int, *, seed: int) -> list[Order]:
    """Orders; the same seed makes the same ones."""
    random = Random(seed)
    return [
        Order(number, f"customer-{random.randint(1, 30)}", random.choice(list(PRICES)), random.randint(1, 3))
        for number in range(1, count + 1)
    ]


def first_stock(orders: list[Order]) -> dict[str, int]:
    """How many of each article there are in the morning: not enough for all."""
    wanted = dict.fromkeys(PRICES, 0)
    for order in orders:
        wanted[order.article] += order.n
    return {article: round(n * _STOCK) for article, n in wanted.items()}
