"""What an agent's persistence costs its handlers, and how long an agent takes to come back."""

from __future__ import annotations

import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

from celery import Celery
from pydantic import Field

from benchmarks.failure import MeasureFailed
from benchmarks.row import Row, Target

if TYPE_CHECKING:
    from benchmarks.stage import Stage

__all__ = ["ABOUT", "Keeper", "measure"]

ABOUT = (
    "A handler that waits for 5 ms, called as a method, called before a bare PING (what one round trip costs a process "
    "and a Redis that have been asleep), and run as an agent's message (handled and committed by one script, as what a "
    "worker takes with it tells that the agent is as this process knows it), in turn, with a state of 1 kB; then one "
    "that computes for 5 ms. Restored: the first message of a process that does not know the agent, with a state of "
    "1 MB, from the script that reads it to the end of a handler that does nothing. Stock has no such thing."
)

_WORK_S = 0.005
_PATIENCE_S = 120.0


class Keeper:
    """Runs the messages of an agent as a worker's pool does.

    Args:
        url: of a server of its own.
    """

    def __init__(self, *, url: str) -> None:
        from hardening import Agent, AgentState, handles, harden, host  # noqa: PLC0415 - stock must not pay for it
        from hardening.core.deployment import client_of, settings_of  # noqa: PLC0415

        never = threading.Event()

        class State(AgentState):
            stock: dict[str, int] = Field(default_factory=dict)
            calls: int = 0

        class Warehouse(Agent):
            name = "warehouse"

            @handles("fill")
            def fill(self, size: int) -> None:
                """About so many bytes of state."""
                self.state.stock = {f"article-{number:08}": number for number in range(size // 27)}

            @handles("work")
            def work(self) -> None:
                """Takes 5 ms."""
                self.state.calls += 1
                never.wait(_WORK_S)

            @handles("compute")
            def compute(self) -> None:
                """Computes for 5 ms."""
                self.state.calls += 1
                end_s = time.perf_counter() + _WORK_S
                while time.perf_counter() < end_s:
                    pass

            @handles("rest")
            def rest(self) -> None:
                """Takes no time."""

        Warehouse.State = State
        self._app: Any = harden(Celery("agents", broker=url, set_as_current=False))
        host(self._app, Warehouse)
        self._cls, self._client, self._keys = Warehouse, client_of(self._app), settings_of(self._app).keys
        self._bare = Warehouse(self._app, State())
        self._number = 0

    def __call__(self, *, calls: int, size: int) -> tuple[float, float, float, float, float]:
        """Medians: what persistence adds to a handler, us; run over called, with a PING, of one that computes; ms."""
        self._run("fill", 1024)
        called, pinged, ran = self._compared("work", calls)
        computed, _, computed_ran = self._compared("compute", calls)
        self._run("fill", size)
        length: Any = self._client.hstrlen(self._keys.agent("warehouse"), "state")
        if length < size * 0.9:
            raise MeasureFailed(f"the state has {length:,} bytes")
        restored_ms = []
        for _ in range(9):
            vars(self._app).pop("_hardening_residents")
            restored_ms.append(self._run("rest") * 1e3)
        return ran - called, ran / called, pinged / called, computed_ran / computed, statistics.median(restored_ms)

    def _compared(self, handler: str, calls: int) -> tuple[float, float, float]:
        """Medians of a handler that is called, is called before a PING, and is run, in us."""
        bare = getattr(self._bare, handler)
        called_us, pinged_us, ran_us = [], [], []
        for _ in range(calls):
            begin_s = time.perf_counter()
            bare()
            between_s = time.perf_counter()
            bare()
            self._client.ping()
            called_us.append((between_s - begin_s) * 1e6)
            pinged_us.append((time.perf_counter() - between_s) * 1e6)
            ran_us.append(self._run(handler) * 1e6)
        return statistics.median(called_us), statistics.median(pinged_us), statistics.median(ran_us)

    def _run(self, handler: str, *args: Any) -> float:
        """How long one message took, in seconds; it is in flight as if a worker had taken it."""
        from hardening.agents.running import Message, run  # noqa: PLC0415
        from hardening.core.scripts.agenting import Turn  # noqa: PLC0415

        self._number += 1
        self._client.hset(self._keys.inflight("bench"), str(self._number), "")
        stored: Any = self._client.hmget(self._keys.agent("warehouse"), "version", "applied")
        version, applied = stored
        mark = f"{(version or b'0').decode()} {(applied or b'').decode()}"
        turn = Turn("warehouse", "bench", self._number, f"message {self._number}", mark)
        begin_s = time.perf_counter()
        run(self._app, self._cls, turn, Message(handler, args, {}))
        return time.perf_counter() - begin_s


def measure(stage: Stage) -> list[Row]:
    """Each round on a new server."""
    calls, size = stage.pick(300, 100), 1_048_576
    added, ratio, floor, computed, restored = stage.samples(
        "benchmarks.agents:Keeper", stage.rounds(full=5, quick=3), timeout_s=_PATIENCE_S, calls=calls, size=size
    )
    return [
        Row(name="added to a handler", unit="us", hardened=added),
        Row(name="run / called, 5 ms", unit="x", hardened=ratio, target=Target.at_most(1.05)),
        Row(name="with a PING / called, 5 ms", unit="x", hardened=floor),
        Row(name="the same, 5 ms of computing", unit="x", hardened=computed, target=Target.at_most(1.05)),
        Row(name="restored, 1 MB", unit="ms", hardened=restored, target=Target.at_most(100)),
    ]
