"""Agents under any history of messages, kills and freezes are as those of one thread; `make chaos` has many more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.agent_machine import run_machine

if TYPE_CHECKING:
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server


def test_every_history_of_agents_is_that_of_one_thread(rig: Rig) -> None:
    """A few histories."""
    run_machine(rig, examples=4, steps=10)
