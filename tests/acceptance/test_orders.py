"""The orders example, run as a user runs it."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.demo import Demo
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.one_server, pytest.mark.timeout(180)]


@pytest.fixture
def demo(tmp_path: Path, binary: str) -> Iterator[Demo]:
    """The example; after each test nothing of it may be left running."""
    demo = Demo("examples.orders", tmp_path, binary)
    yield demo
    eventually(lambda: not demo.processes(), 15)


def test_the_books_of_everybody_agree_after_a_day_on_which_a_worker_died(demo: Demo) -> None:
    """Counted here once more, from what the gateway, the inventory, the couriers, the beat and Redis say."""
    file = demo.directory / "books.json"
    code, out, err = demo.run("--orders", 20, "--json", file)
    books = json.loads(file.read_text())
    assert (code, books["faults"]) == (0, []), (out, err)
    assert books["verdict"] in out.splitlines()
    assert max(map(len, out.splitlines()[:-1])) <= 80
    placed, charges, inventory = books["placed"], books["charges"], books["inventory"]
    assert len(placed) + books["sold_out"] + books["try_later"] == books["orders"] == 20
    assert set(charges.values()) == {1}
    assert charges.keys() ^ set(map(str, books["declined"])) == placed.keys() == books["told"].keys()
    assert set(books["told"].values()) == set(books["payments"].values()) == {1}
    assert inventory["sold"] == {order: [placed[order]["article"], placed[order]["n"]] for order in charges}
    for article, first in books["first_stock"].items():
        sold = sum(n for what, n in inventory["sold"].values() if what == article)
        assert inventory["stock"][article] == first + len(books["slots"]) - sold
    assert inventory["held"] == {}
    assert sorted(inventory["slots"]) == sorted(books["slots"]) != []
    assert sorted(chain.from_iterable(books["parcels"].values())) == sorted(map(int, charges))
    assert 2 in books["explained"], "the order that the gateway could not read, by its error context"
    assert books["letters"] == books["replayed"] == len(books["explained"])
    assert (books["left"], books["is_balanced"]) == (0, True)
    assert books["killed"] in {"worker-1", "worker-2"}
    assert not list(demo.temporary.iterdir())
