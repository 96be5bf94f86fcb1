"""Agents under any history of messages, kills and freezes are as those of one thread; `make chaos` has many more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.agent_house import House
from tests.faults.agent_machine import run_machine

if TYPE_CHECKING:
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server


def test_every_history_of_agents_is_that_of_one_thread(rig: Rig) -> None:
    """A few short ones, of which the first does next to nothing: so Hypothesis begins."""
    house = House(rig)
    try:
        run_machine(house, examples=3, steps=8, chance=179)
    finally:
        house.end()
