"""Where the benchmarks have a client and its server run."""

from __future__ import annotations

import os

import pytest

from benchmarks.placement import Placement


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no way to choose a processor here")
def test_a_client_and_its_server_have_a_processor_each() -> None:
    """Both among those that this process may use; with one only, nothing is chosen."""
    mine = os.sched_getaffinity(0)
    placement = Placement.apart()
    if len(mine) == 1:
        assert placement is None
    else:
        assert placement is not None
        assert placement.server != placement.child
        assert {placement.server, placement.child} <= mine
