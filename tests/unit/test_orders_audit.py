"""The verdict of the orders example: it must find whatever is lost, and whatever is done twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from click.testing import CliRunner
from rich.console import Console

import examples.orders
from examples.orders.__main__ import main
from examples.orders.audit import Audit
from examples.orders.gateway import mood_of
from examples.orders.inventory import Inventory
from examples.orders.order import Order, first_stock, generate
from tests.integration.docs_page import blocks

INVENTORY: dict[str, Any] = {
    "stock": {"tea": 9, "cocoa": 4},
    "held": {},
    "sold": {"1": ("tea", 2), "4": ("tea", 1)},
    "slots": [1000, 2000],
}
GOOD = Audit(
    orders=4,
    placed={1: Order(1, "ann", "tea", 2), 2: Order(2, "bob", "cocoa", 1), 4: Order(4, "cat", "tea", 1)},
    try_later=0,
    sold_out=1,
    payments={1: 1, 2: 1, 4: 1},
    charges={1: 1, 4: 1},
    declined={2},
    calls=5,
    sick_calls=1,
    first_stock={"tea": 10, "cocoa": 2},
    inventory=INVENTORY,
    parcels={"bike": [1], "van": [4]},
    slots=[1000, 2000],
    told={1: 1, 2: 1, 4: 1},
    explained=[4],
    letters=1,
    replayed=1,
    outdated=0,
    killed="worker-2",
    recovered=3,
    came_in=40,
    left=0,
    is_balanced=True,
    duration_s=9.5,
)


def test_books_that_agree_have_no_fault() -> None:
    """Then, and only then, the exit code is 0."""
    assert (GOOD.faults(), GOOD.exit_code) == ([], 0)
    assert GOOD.verdict == "NOTHING WAS LOST: 3 orders placed, 2 paid once each, 2 parcels; the ledger balances."


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"declined": set()}, ["1 order placed, and neither paid nor declined: 2"]),
        ({"declined": {1, 2}}, ["1 order paid and declined: 1"]),
        ({"payments": {1: 1, 2: 2, 4: 1}}, ["1 order with more than one payment: 2"]),
        ({"charges": {1: 2, 4: 1}}, ["1 order paid more than once: 1"]),
        ({"told": {1: 1, 4: 1}}, ["1 order whose shop was not told once how the payment ended: 2"]),
        ({"told": {1: 2, 2: 1, 4: 1}}, ["1 order whose shop was not told once how the payment ended: 1"]),
        ({"told": {1: 1, 2: 1, 3: 1, 4: 1}}, ["1 order whose shop was not told once how the payment ended: 3"]),
        ({"parcels": {"bike": [1], "van": []}}, ["1 order paid, and carried by nobody: 4"]),
        ({"parcels": {"bike": [1, 2], "van": [4]}}, ["1 order carried, and never paid: 2"]),
        ({"parcels": {"bike": [1], "van": [1, 4]}}, ["1 order carried twice: 1"]),
        ({"is_balanced": False}, ["the ledger does not balance: messages are missing, or there are too many"]),
        ({"left": 2}, ["left over: 2 messages"]),
        ({"replayed": 0}, ["1 dead letter, 0 replayed"]),
        ({"explained": []}, ["1 dead letter, of which 0 say of which order"]),
        ({"explained": [3]}, ["1 order not placed, about which there are dead letters: 3"]),
        ({"killed": ""}, ["no worker was killed, so this proves little"]),
    ],
)
def test_what_is_lost_or_done_twice_is_found(changes: dict[str, Any], faults: list[str]) -> None:
    """Each in a line of its own, and the run fails."""
    audit = replace(GOOD, **changes)
    assert audit.faults() == faults
    assert audit.exit_code == 1
    assert audit.verdict == "SOMETHING WAS LOST: 1 fault, see above."


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"stock": {"tea": 8, "cocoa": 4}}, ["tea: 8 in stock, expected 10 + 2 - 3 = 9"]),
        ({"held": {"2": ("cocoa", 1)}}, ["1 order still reserved: 2"]),
        ({"slots": [1000]}, ["2 deliveries were sent, 1 came in, or other ones"]),
        ({"slots": [1000, 3000]}, ["2 deliveries were sent, 2 came in, or other ones"]),
        ({"slots": [1000, 1000, 2000]}, ["2 deliveries were sent, 3 came in, or other ones"]),
        (
            {"sold": {"1": ("tea", 3)}},
            [
                "1 order paid, and not sold by the inventory, or the other way round: 4",
                "1 order sold otherwise than ordered: 1",
            ],
        ),
    ],
)
def test_goods_that_are_missing_are_found(changes: dict[str, Any], faults: list[str]) -> None:
    """The inventory's own state is held against everybody else's."""
    assert replace(GOOD, inventory={**INVENTORY, **changes}).faults() == faults


def test_an_order_nobody_placed_is_found_wherever_it_turns_up() -> None:
    """Paid, and so on."""
    audit = replace(GOOD, charges={1: 1, 3: 1, 4: 1})
    assert "1 order paid, and never placed: 3" in audit.faults()


def test_a_day_without_deliveries_proves_nothing_about_the_beat() -> None:
    """So it is a fault."""
    stock = {"tea": 7, "cocoa": 2}
    audit = replace(GOOD, slots=[], inventory={**INVENTORY, "stock": stock, "slots": []})
    assert audit.faults() == ["no delivery was sent"]


def test_many_faults_of_one_kind_name_the_first() -> None:
    """A line stays a line."""
    placed = {number: Order(number, "ann", "tea", 1) for number in range(1, 11)}
    audit = replace(GOOD, placed=placed, told=dict.fromkeys(placed, 1))
    assert "7 orders placed, and neither paid nor declined: 3, 5, 6, 7, 8, ..." in audit.faults()


def test_the_table_is_readable_in_a_pipe_of_80_columns() -> None:
    """And says what was late, only if something was."""
    console = Console(width=80)
    with console.capture() as capture:
        console.print(GOOD.table())
        console.print(replace(GOOD, outdated=2).table())
    assert max(map(len, capture.get().splitlines())) <= 80
    assert "worker-2, which was killed" in " ".join(capture.get().split())
    assert capture.get().count("outdated") == 1


def test_the_books_are_json() -> None:
    """With the verdict."""
    books = json.loads(json.dumps(GOOD.to_json()))
    assert (books["declined"], books["faults"], books["verdict"]) == ([2], [], GOOD.verdict)


def test_books_that_cannot_be_written_are_said_before_anything_is_started(tmp_path: Path) -> None:
    """Not after the day."""
    told = CliRunner().invoke(main, ["--json", str(tmp_path / "nowhere" / "books.json")])
    assert told.exit_code == 2
    assert "No such file or directory" in told.stderr


def test_what_the_readme_shows_stands_in_the_code() -> None:
    """Word for word."""
    room = Path(examples.orders.__file__).parent
    code = "".join(path.read_text() for path in room.glob("*.py"))
    shown = [source for _, source in blocks(room / "README.md")]
    assert len(shown) == 6
    assert [one for one in shown if one not in code] == []


def test_the_same_seed_makes_the_same_day() -> None:
    """Orders and moods; and there is never enough for all."""
    orders = generate(60, seed=1)
    assert orders == generate(60, seed=1) != generate(60, seed=2)
    assert sum(first_stock(orders).values()) < sum(order.n for order in orders)
    moods = [mood_of(order.id, seed=1) for order in orders]
    assert moods == [mood_of(order.id, seed=1) for order in orders]
    assert set(moods) == {"declined", "unreadable", "busy", "forgetful", "fine"}


def test_the_inventory_puts_back_what_is_not_paid() -> None:
    """Handlers are methods: no worker is needed to test them."""
    inventory = Inventory(Celery("test", set_as_current=False), Inventory.State())
    inventory.open({"tea": 5})
    assert [inventory.reserve(1, "tea", 3), inventory.reserve(2, "tea", 3), inventory.reserve(3, "tea", 2)] == [
        True, False, True,
    ]  # fmt: skip
    for _ in range(2):
        inventory.on_order("order.paid", {"order": 1})
        inventory.on_order("order.declined", {"order": 3})
        inventory.release(2)
    inventory.restock(1000, 1)
    assert inventory.books() == {
        "stock": {"tea": 3, "coffee": 1, "cocoa": 1},
        "held": {},
        "sold": {"1": ("tea", 3)},
        "slots": [1000],
    }
