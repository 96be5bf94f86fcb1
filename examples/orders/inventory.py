"""The stock: an agent, so there is one, it takes one message at a time, and it survives its workers."""

from __future__ import annotations

import os
from typing import Any

from examples.orders.order import PRICES
from hardening import Agent, AgentState, handles

__all__ = ["Inventory"]


class Inventory(Agent):
    """Keeps the stock. A message changes its state once, whoever dies; a payment that runs twice says so twice."""

    name = "inventory"

    class State(AgentState):
        """What it remembers; committed with every message, together with the answer.

        Attributes:
            stock: how many there are to sell, by article.
            held: what orders have reserved and not paid: article and number, by order.
            sold: likewise, paid.
            slots: the due times of the deliveries that came in, in ms.
        """

        stock: dict[str, int] = dict.fromkeys(PRICES, 0)
        held: dict[str, tuple[str, int]] = {}  # noqa: RUF012 - pydantic copies it
        sold: dict[str, tuple[str, int]] = {}  # noqa: RUF012
        slots: list[int] = []  # noqa: RUF012

    @handles("open")
    def open(self, stock: dict[str, int]) -> None:
        """The first stock; deliveries may have come before."""
        for article, n in stock.items():
            self.state.stock[article] += n

    @handles("reserve")
    def reserve(self, order: int, article: str, n: int) -> bool:
        """Sets goods aside for an order. "Sold out" is an answer, not an error: nothing went wrong."""
        left = self.state.stock.get(article, 0) - n
        if left < 0:
            return False
        self.state.stock[article] = left
        self.state.held[str(order)] = (article, n)
        return True

    @handles("release")
    def release(self, order: int) -> None:
        """Puts back what an order had reserved, if it had."""
        article, n = self.state.held.pop(str(order), ("", 0))
        if n:
            self.state.stock[article] += n

    @handles("on_order")
    def on_order(self, signal: str, payload: dict[str, Any]) -> None:
        """Hears the signals ``order.paid`` and ``order.declined``."""
        order = str(payload["order"])
        if signal == "order.declined":
            self.release(payload["order"])
        elif order in self.state.held:
            self.state.sold[order] = self.state.held.pop(order)

    @handles("restock")
    def restock(self, slot: int, n: int) -> None:
        """Takes in a delivery: so many of each article."""
        self.state.slots.append(slot)
        for article in self.state.stock:
            self.state.stock[article] += n

    @handles("whereabouts")
    def whereabouts(self) -> int:
        """The process id of the worker that runs it now; for whoever wants to kill that."""
        return os.getpid()

    @handles("books")
    def books(self) -> dict[str, Any]:
        """All of it."""
        return dict(self.state.model_dump())
