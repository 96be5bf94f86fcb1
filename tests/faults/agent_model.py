"""A bank as one would write it without workers, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import random

__all__ = ["Model", "Order", "orders"]

_ACCOUNTS = "abcd"


class Order(NamedTuple):
    """One thing that a bank is told.

    Attributes:
        handler: what.
        args: with what, the number first.
        trap: when the process that runs it dies of it: ``before`` or ``after`` its commit; empty: it does not.
        is_asked: whether its sender waits for the answer.
    """

    handler: str
    args: tuple[Any, ...]
    trap: str = ""
    is_asked: bool = False


def orders(chance: random.Random, number: int, traps: int) -> list[Order]:
    """A series of orders, so many of which are deadly."""
    deadly = dict(zip(chance.sample(range(1, number), traps), ["before", "after"] * traps, strict=False))
    made = []
    for at in range(number):
        kind = chance.choices(["deposit", "transfer", "refuse"], [5, 4, 1])[0]
        amount = chance.randint(1, 100)
        source, target = chance.sample(_ACCOUNTS, 2)
        args = {"deposit": (at, source, amount), "transfer": (at, source, target, amount), "refuse": (at,)}[kind]
        trap = deadly.get(at, "")
        if kind == "refuse" and trap == "after":
            trap = "before"  # it never commits
        made.append(Order(kind, args, trap, is_asked=chance.random() < 0.1))
    return made


@dataclass
class Model:
    """The bank, in one thread."""

    balances: dict[str, int] = field(default_factory=dict)
    applied: list[int] = field(default_factory=list)
    echoed: list[int] = field(default_factory=list)
    paid: list[int] = field(default_factory=list)

    def run(self, order: Order) -> Any:
        """Does what it is told; answers.

        Raises:
            ValueError: as the bank does.
        """
        number = order.args[0]
        if order.handler == "refuse":
            raise ValueError(f"{number} is refused")
        self.applied.append(number)
        if order.handler == "deposit":
            _, account, amount = order.args
            self.balances[account] = self.balances.get(account, 0) + amount
            if number % 3 == 0:
                self.echoed.append(number)
            return self.balances[account]
        _, source, target, amount = order.args
        if self.balances.get(source, 0) < amount:
            return False
        self.balances[source] -= amount
        self.balances[target] = self.balances.get(target, 0) + amount
        self.paid.append(number)
        return True
