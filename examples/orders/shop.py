"""The shop: what happens between a customer and the service, in the process of a web server, say."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

from examples.orders.app import app
from examples.orders.order import PRICES
from examples.orders.packing import pack
from examples.orders.payments import pay
from hardening import (
    CallTimeout,
    agent,
    breadcrumb,
    call_with_timeout,
    deadline,
    error_context,
    monitor,
    subscribe,
    supervised_send,
)
from hardening.agents import AgentHalted, AskTimeout

if TYPE_CHECKING:
    from examples.orders.order import Order
    from hardening import Down

__all__ = ["Outcome", "Shop", "price"]

_INVENTORY = agent("inventory", app)


class Outcome(StrEnum):
    """What a customer is told."""

    PLACED = "placed"
    SOLD_OUT = "sold out"
    TRY_LATER = "try later"


@app.task(name="orders.price")
def price(article: str, n: int) -> int:
    """In cents. Imagine something slow behind it."""
    return PRICES[article] * n


class Shop:
    """Places orders, and hears what became of their payments.

    Attributes:
        outcomes: what each customer was told, by order.
        receipts: the ids of those of its payment, by order: one.
        estimated: how many prices did not come in time.
        told: how often the end of each payment was told, by order.
    """

    def __init__(self) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self.receipts: dict[int, set[str]] = {}
        self.told: Counter[int] = Counter()
        self.estimated = 0

    def open(self, stock: dict[str, int]) -> None:
        """Fills the shelves, and says who is told of what."""
        _INVENTORY.ask("open", stock, timeout=30)
        subscribe("order.*", _INVENTORY, handler="on_order")  # ends when the agent does
        subscribe("order.paid", pack, durable=True, app=app)

    def place(self, order: Order, *, patience_s: float = 5.0) -> Outcome:
        """Places an order. A customer who clicks twice has placed one.

        Args:
            order: what is wanted.
            patience_s: how long the customer waits for an answer, in seconds.

        Returns:
            What to tell the customer.
        """
        with error_context("checkout", order=order.id, customer=order.customer):  # goes along, also into dead letters
            with deadline(patience_s):  # whatever is asked inside takes no longer, and is not begun later
                cents = self._price(order)
                outcome = self._reserve(order)
            if outcome is Outcome.PLACED:
                self._charge(order, cents)
            elif outcome is Outcome.TRY_LATER:  # it may be reserved; a mailbox is in order, so this comes afterwards
                _INVENTORY.tell("release", order.id)
        self.outcomes[order.id] = outcome
        return outcome

    def _price(self, order: Order) -> int:
        """What it costs: asked of a worker, but not for long (``hardening_timeouts`` says how long)."""
        try:
            cents: int = call_with_timeout(price, (order.article, order.n))
        except CallTimeout:  # it was cancelled, and will not run
            self.estimated += 1
            cents = PRICES[order.article] * order.n
        return cents

    def _reserve(self, order: Order) -> Outcome:
        """Asks the agent; sold out is an answer."""
        if order.id in self.receipts:
            return Outcome.PLACED
        try:
            is_there = _INVENTORY.ask("reserve", order.id, order.article, order.n)
        except (AskTimeout, AgentHalted):  # nobody runs the agent just now, or an operator has paused it
            return Outcome.TRY_LATER
        return Outcome.PLACED if is_there else Outcome.SOLD_OUT

    def _charge(self, order: Order, cents: int) -> None:
        """Sent with a key, so twice is once: the second receipt is the first."""
        breadcrumb("goods are reserved", article=order.article, n=order.n)
        receipt = supervised_send(pay, (order.id, cents), idempotency_key=f"payment-{order.id}")
        if order.id not in self.receipts:
            monitor(receipt, str(order.id), on_down=self._on_end, app=app)
        self.receipts.setdefault(order.id, set()).add(receipt.id)

    def _on_end(self, down: Down) -> None:
        """Told once of each payment, when it is acked or dead."""
        self.told[int(down.tag)] += 1
