"""One day of the service: open, take orders, lose a worker, go on, repair, close, and ask for the books."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from beat_schedules import Schedules
from dlq import DeadLetters, Selection
from examples.orders.app import app
from examples.orders.audit import Audit
from examples.orders.couriers import COURIERS
from examples.orders.crew import WORKERS
from examples.orders.order import first_stock
from examples.orders.shop import Outcome, Shop
from hardening import agent
from hardening.core.console import counted
from hardening.core.deployment import client_of, settings_of
from hardening.core.ledger import read_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from examples.orders.crew import Crew
    from examples.orders.gateway import Gateway
    from examples.orders.order import Order
    from hardening.core.ledger import Ledger

__all__ = ["Day", "DayError"]

_TICK_S = 0.1
#: How long workers may take to start, and work to end, in seconds.
_START_S = 60.0
_STILL_S = 20.0
_ANSWER_S = 15.0
#: Every so manieth customer clicks twice; who comes when a worker has just died waits only so long, in seconds.
_IMPATIENT = 5
_HURRY_S = 0.3
#: So many customers' payments the gateway keeps waiting until a worker has died of whom it holds some.
_STALLED = 6


class DayError(Exception):
    """The day cannot go on; says why in one line."""


class Day:
    """Runs once.

    Args:
        orders: that will come.
        crew: runs already.
        gateway: likewise.
        tell: is told how it goes, line by line.
    """

    def __init__(self, orders: Sequence[Order], crew: Crew, gateway: Gateway, tell: Callable[[str], None]) -> None:
        self._orders = orders
        self._crew = crew
        self._gateway = gateway
        self._tell = tell
        self._shop = Shop()
        self._stock = first_stock(list(orders))
        self._inventory = agent("inventory", app)
        self._dead = DeadLetters.of(app, operator="the evening shift")
        self._pause = threading.Event()  # never set: it only waits
        self._killed = ""

    def run(self) -> Audit:
        """All of it.

        Raises:
            DayError: it cannot go on.
        """
        begin_s = time.monotonic()
        self._until(_are_there, _START_S, "a worker did not start")
        self._shop.open(self._stock)
        self._tell("two workers and a beat are up; the shop is open")
        self._take_orders()
        self._settle()
        letters = self._repair()
        self._close()
        return self._audit(letters, time.monotonic() - begin_s)

    def _take_orders(self) -> None:
        half = len(self._orders) // 2
        for number, order in enumerate(self._orders):
            if number == max(0, half - _STALLED):
                self._gateway.stall()  # so that the worker has something to lose
            if number == half:
                self._kill_a_worker(number)
                self._gateway.go_on()
                self._shop.place(order, patience_s=_HURRY_S)
                continue
            for _ in range(2 if number % _IMPATIENT == 0 else 1):
                self._shop.place(order)
        self._tell(f"{len(self._orders)} customers were answered")

    def _kill_a_worker(self, number: int) -> None:
        """The one that runs the inventory; the other goes on where it stopped, once the lease of the dead is over."""
        self._killed = self._crew.name_of(self._inventory.ask("whereabouts", timeout=_ANSWER_S))
        self._crew.kill(self._killed)
        self._tell(f"{self._killed}, which ran the inventory, got SIGKILL after {number} orders")

    def _repair(self) -> list[tuple[str, dict[str, Any]]]:
        """Has the gateway mended, and what died of it replayed.

        Returns:
            The reason and the error context of each dead letter.
        """
        letters = [(letter.reason, letter.context) for letter in self._dead.select()]
        self._gateway.fix()
        self._replayed = self._dead.replay(Selection(task="orders.pay"))
        self._outdated = self._dead.purge(Selection(reason="expired"))  # a request that nobody waits for any more
        self._tell(f"the gateway is mended; {counted(self._replayed, 'dead letter')} replayed")
        return letters

    def _close(self) -> None:
        """No more deliveries; then everything comes to its end."""
        schedules = Schedules.of(app)
        self._until(lambda: bool(schedules.history("restock")), _START_S, "the beat sends nothing")
        schedules.pause("restock")
        self._settle()
        sent = [past for past in schedules.history("restock") if past.what == "sent"]
        self._slots = [round(past.slot.timestamp() * 1000) for past in sent]

    # -- waiting

    def _until(self, is_so: Callable[[], bool], seconds: float, otherwise: str) -> None:
        until_s = time.monotonic() + seconds
        while not is_so():
            if self._crew.ended:
                raise DayError(f"{self._crew.ended[0]} ended by itself, see its log")
            if time.monotonic() > until_s:
                raise DayError(otherwise)
            self._pause.wait(_TICK_S)

    def _settle(self) -> None:
        """Until nothing waits and all were told, or nothing happens any more: the audit will say what is missing."""
        seen: object = None
        still_since_s = time.monotonic()
        while time.monotonic() - still_since_s < _STILL_S:
            ledger = self._ledger()
            if not _unfinished(ledger) and self._shop.told.keys() >= self._shop.receipts.keys():
                return
            now = (ledger.accounted, ledger.counters, self._shop.told.total())
            if now != seen:
                seen, still_since_s = now, time.monotonic()
            self._pause.wait(_TICK_S)

    def _ledger(self) -> Ledger:
        return read_ledger(client_of(app), settings_of(app).keys)

    # -- the books

    def _audit(self, letters: Iterable[tuple[str, dict[str, Any]]], duration_s: float) -> Audit:
        inventory = self._inventory.ask("books", timeout=_ANSWER_S)
        parcels = {one.name: agent(one.name, app).ask("books", timeout=_ANSWER_S) for one in COURIERS}
        self._settle()  # an answer comes before the ack of its message
        said = Counter(self._shop.outcomes.values())
        ledger = self._ledger()
        contexts = [context for reason, context in letters if reason != "expired"]
        return Audit(
            orders=len(self._orders),
            placed={order.id: order for order in self._orders if self._shop.outcomes[order.id] is Outcome.PLACED},
            try_later=said[Outcome.TRY_LATER],
            sold_out=said[Outcome.SOLD_OUT],
            payments={order: len(receipts) for order, receipts in self._shop.receipts.items()},
            charges={order: len(keys) for order, keys in self._gateway.charges.items()},
            declined=self._gateway.declined,
            calls=self._gateway.calls.total(),
            sick_calls=self._gateway.sick_calls,
            first_stock=self._stock,
            inventory=inventory,
            parcels=parcels,
            slots=self._slots,
            told=dict(self._shop.told),
            explained=[context["fields"]["order"] for context in contexts if "order" in context.get("fields", {})],
            letters=len(contexts),
            replayed=self._replayed,
            outdated=self._outdated,
            killed=self._killed,
            recovered=ledger.counters.get("recovered", 0),
            came_in=ledger.came_in,
            left=_unfinished(ledger) + ledger.letters,
            is_balanced=ledger.is_balanced,
            duration_s=duration_s,
        )


def _are_there() -> bool:
    """Whether both workers answer."""
    return len(app.control.ping(timeout=1.0, limit=WORKERS) or ()) == WORKERS


def _unfinished(ledger: Ledger) -> int:
    return ledger.queued + ledger.stock + ledger.scheduled + ledger.inflight
