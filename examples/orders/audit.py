"""What must be true in the evening, whatever happened during the day."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from hardening.core.console import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from examples.orders.order import Order

__all__ = ["Audit"]

#: How many orders a fault names.
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The books of everybody who took part, laid side by side.

    Attributes:
        orders: all that there were.
        placed: those whose customers were told so, by number.
        try_later: how many customers were told that.
        sold_out: likewise.
        payments: by order: how many messages there were to have it paid; a customer may click twice.
        charges: by order: how often the gateway has charged it.
        declined: the orders that the gateway declined.
        calls: how often the gateway was called.
        sick_calls: how often while it was sick.
        first_stock: in the morning, by article.
        inventory: the state of the agent.
        parcels: what each courier carries.
        slots: the due times of which the beat says that it sent them, in ms.
        told: by order: how often its shop was told that its payment had ended.
        explained: the orders that dead letters were about, as their error contexts said.
        letters: how many dead letters there were to replay.
        replayed: how many were.
        outdated: how many others there were: requests that came too late to be of use, which were purged.
        killed: the worker that was.
        recovered: how many messages came back from it.
        came_in: messages that Redis took, all in all.
        left: how many of them wait, or are dead, in the evening.
        is_balanced: whether ``celery hardening verify`` would say so.
        duration_s: of the day.
    """

    orders: int
    placed: Mapping[int, Order]
    try_later: int
    sold_out: int
    payments: Mapping[int, int]
    charges: Mapping[int, int]
    declined: AbstractSet[int]
    calls: int
    sick_calls: int
    first_stock: Mapping[str, int]
    inventory: Mapping[str, Any]
    parcels: Mapping[str, Sequence[int]]
    slots: Sequence[int]
    told: Mapping[int, int]
    explained: Sequence[int]
    letters: int
    replayed: int
    outdated: int
    killed: str
    recovered: int
    came_in: int
    left: int
    is_balanced: bool
    duration_s: float

    @property
    def paid(self) -> set[int]:
        """The orders for which money was taken."""
        return {order for order, times in self.charges.items() if times}

    def faults(self) -> list[str]:
        """A line for everything that is not as it must be; none: nothing was lost."""
        return [*self._money(), *self._goods(), *self._parcels(), *self._messages()]

    @property
    def exit_code(self) -> int:
        """0 only when nothing was lost."""
        return 1 if self.faults() else 0

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {**asdict(self), "declined": sorted(self.declined), "faults": self.faults(), "verdict": self.verdict}

    def _money(self) -> Iterator[str]:
        yield from _about("placed, and neither paid nor declined", self.placed.keys() - self.paid - self.declined)
        yield from _about("paid, and never placed", self.paid - self.placed.keys())
        yield from _about("paid and declined", self.paid & self.declined)
        yield from _about("with more than one payment", {order for order, n in self.payments.items() if n > 1})
        yield from _about("paid more than once", {order for order, times in self.charges.items() if times > 1})
        wrong = {order for order in {*self.placed, *self.told} if self.told.get(order, 0) != (order in self.placed)}
        yield from _about("whose shop was not told once how the payment ended", wrong)

    def _goods(self) -> Iterator[str]:
        if self.inventory["held"]:
            yield from _about("still reserved", {int(order) for order in self.inventory["held"]})
        sold = {int(order): (article, n) for order, (article, n) in self.inventory["sold"].items()}
        yield from _about("paid, and not sold by the inventory, or the other way round", sold.keys() ^ self.paid)
        wrong = {order for order, what in sold.items() if what != self._wanted(order)}
        yield from _about("sold otherwise than ordered", wrong)
        for article, first in self.first_stock.items():
            taken = sum(n for what, n in sold.values() if what == article)
            expected = first + len(self.slots) - taken  # each slot is a delivery of one
            if (stock := self.inventory["stock"].get(article, 0)) != expected:
                yield f"{article}: {stock} in stock, expected {first} + {len(self.slots)} - {taken} = {expected}"
        if sorted(self.inventory["slots"]) != sorted(self.slots):
            yield f"{len(self.slots)} deliveries were sent, {len(self.inventory['slots'])} came in, or other ones"

    def _wanted(self, order: int) -> tuple[str, int] | None:
        placed = self.placed.get(order)
        return (placed.article, placed.n) if placed else None

    def _parcels(self) -> Iterator[str]:
        carried = [parcel for parcels in self.parcels.values() for parcel in parcels]
        yield from _about("paid, and carried by nobody", self.paid - set(carried))
        yield from _about("carried, and never paid", set(carried) - self.paid)
        yield from _about("carried twice", {parcel for parcel in carried if carried.count(parcel) > 1})

    def _messages(self) -> Iterator[str]:
        if not self.is_balanced:
            yield "the ledger does not balance: messages are missing, or there are too many"
        if self.left:
            yield f"left over: {counted(self.left, 'message')}"
        if self.replayed != self.letters:
            yield f"{counted(self.letters, 'dead letter')}, {self.replayed} replayed"
        if len(self.explained) != self.letters:
            yield f"{counted(self.letters, 'dead letter')}, of which {len(self.explained)} say of which order"
        yield from _about("not placed, about which there are dead letters", set(self.explained) - self.placed.keys())
        if not self.killed:
            yield "no worker was killed, so this proves little"
        if not self.slots:
            yield "no delivery was sent"

    @property
    def verdict(self) -> str:
        """One line."""
        if faults := self.faults():
            return f"SOMETHING WAS LOST: {counted(len(faults), 'fault')}, see above."
        return (
            f"NOTHING WAS LOST: {len(self.placed)} orders placed, {len(self.paid)} paid once each, "
            f"{len(self.paid)} parcels; the ledger balances."
        )

    def table(self) -> Table:
        """The day, for people."""
        table = Table(title="Orders", title_justify="left")
        table.add_column("")
        table.add_column("", justify="right")
        table.add_column("what it means", overflow="fold")
        for name, number, meaning in self._rows():
            table.add_row(name, str(number), meaning)
        return table

    def _rows(self) -> Iterator[tuple[str, int, str]]:
        yield "orders", self.orders, f"sold out: {self.sold_out}, told to try later: {self.try_later}"
        yield "placed", len(self.placed), "goods were reserved by the agent, a payment was sent"
        yield "paid", len(self.paid), f"charged once each, in {self.calls} calls; {self.sick_calls} while it was sick"
        yield "declined", len(self.declined), "no money: what was reserved was put back"
        yield "parcels", sum(map(len, self.parcels.values())), "won at auction: " + self._carriers()
        yield "deliveries", len(self.slots), "sent by the beat, each counted once"
        yield "told", sum(self.told.values()), "ends of payments, by monitors"
        yield "dead letters", self.letters, "payments that failed, for good or too often; replayed when all was well"
        if self.outdated:
            yield "outdated", self.outdated, "requests that were late; purged"
        yield "recovered", self.recovered, f"messages that came back from {self.killed or 'nobody'}, which was killed"
        yield "messages", self.came_in, f"taken by Redis in {self.duration_s:.1f} s; left over: {self.left}"

    def _carriers(self) -> str:
        return ", ".join(f"{name} {len(parcels)}" for name, parcels in self.parcels.items())


def _about(what: str, orders: AbstractSet[int]) -> Iterator[str]:
    """A fault, if there are such orders."""
    if orders:
        named = ", ".join(map(str, sorted(orders)[:_NAMED])) + (", ..." if len(orders) > _NAMED else "")
        yield f"{counted(len(orders), 'order')} {what}: {named}"
