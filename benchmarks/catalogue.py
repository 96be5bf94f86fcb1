"""Every measure, by its name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import (
    agents,
    broadcast,
    cancel,
    deadletters,
    depth,
    idle,
    memory,
    monitors,
    publish,
    queues,
    receipts,
    recovery,
    signals,
    throughput,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.row import Row
    from benchmarks.stage import Stage

__all__ = ["MEASURES", "Measure"]


class Measure(NamedTuple):
    """What a module of this package offers.

    Attributes:
        about: what it does.
        run: does it.
    """

    about: str
    run: Callable[[Stage], list[Row]]


_MODULES = (
    publish, memory, broadcast, signals, cancel, receipts, throughput, queues, recovery, deadletters, idle, depth,
    monitors, agents
)  # fmt: skip

MEASURES: Mapping[str, Measure] = MappingProxyType(
    {module.__name__.rpartition(".")[2]: Measure(module.ABOUT, module.measure) for module in _MODULES}
)
